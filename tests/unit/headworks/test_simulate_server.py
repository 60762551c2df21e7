"""The simulated provider over real HTTP: every answer and every fault as a caller meets it."""

import asyncio
import base64
import io
from array import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from headworks.simulate import Behaviour, CannedAnswer, Fault, FixedLatency, SimulatedProvider
from headworks.simulate.answers import STATEMENT
from headworks.simulate.server import BODY_BYTES_MAX

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
AN_HOUR = FixedLatency(ms=3_600_000)
DEADLINE_S = 10


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}], **fields}


def embeddings(**fields: Any) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": "hello", **fields}


@pytest.fixture
async def provider() -> AsyncIterator[SimulatedProvider]:
    async with SimulatedProvider() as running:
        yield running


@pytest.fixture
async def http(provider: SimulatedProvider) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(provider.url, timeout=timeout, raise_for_status=False) as session:
        yield session


async def events_of(response: aiohttp.ClientResponse) -> list[str]:
    return [event.removeprefix("data: ") for event in (await response.text()).split("\n\n") if event]


async def counts_once(http: aiohttp.ClientSession, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The counts as soon as they are so; each look is a round trip through the server's own loop."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.get("/calls") as response:
                counts: dict[str, Any] = await response.json()
            if true(counts):
                return counts


async def test_a_chat_answer_says_what_it_is(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=chat()) as response:
        body = await response.json()
    assert response.status == 200
    assert response.headers["x-simulated"] == "true"
    assert (body["object"], body["model"], body["system_fingerprint"]) == (
        "chat.completion",
        "gpt-4o-mini",
        "simulated",
    )
    (choice,) = body["choices"]
    assert choice["message"]["content"].startswith(STATEMENT)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_connection_serves_one_request_after_another(http: aiohttp.ClientSession) -> None:
    answers = [await (await http.post(CHAT, json=chat(n=2))).json() for _ in range(3)]
    assert answers[0]["choices"] == answers[1]["choices"] == answers[2]["choices"]
    assert len(answers[0]["choices"]) == 2


async def test_a_streamed_answer_adds_up_to_the_whole_one(http: aiohttp.ClientSession) -> None:
    asked = chat(stream=True, stream_options={"include_usage": True})
    async with http.post(CHAT, json=asked) as response:
        *chunks, done = await events_of(response)
    assert response.content_type == "text/event-stream"
    assert response.headers["x-simulated"] == "true"
    assert done == "[DONE]"
    parsed = [orjson.loads(chunk) for chunk in chunks]
    assert {chunk["object"] for chunk in parsed} == {"chat.completion.chunk"}
    assert {chunk["system_fingerprint"] for chunk in parsed} == {"simulated"}
    text = "".join(choice["delta"].get("content", "") for chunk in parsed for choice in chunk["choices"])
    assert text.startswith(STATEMENT)
    assert [chunk["usage"] is None for chunk in parsed] == [True] * (len(parsed) - 1) + [False]
    assert parsed[-1]["choices"] == []
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"


async def test_a_stream_tells_usage_only_when_asked(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=chat(stream=True)) as response:
        chunks = await events_of(response)
    assert not any("usage" in chunk for chunk in chunks)


async def test_embeddings_as_numbers_and_as_base64(http: aiohttp.ClientSession) -> None:
    asked = embeddings(input=["a", "b"], dimensions=4)
    numbers = await (await http.post(EMBEDDINGS, json=asked)).json()
    packed = await (await http.post(EMBEDDINGS, json={**asked, "encoding_format": "base64"})).json()
    assert (numbers["object"], numbers["system_fingerprint"]) == ("list", "simulated")
    assert numbers["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert [one["index"] for one in numbers["data"]] == [0, 1]
    vectors = [one["embedding"] for one in numbers["data"]]
    assert vectors[0] != vectors[1]
    for vector, one in zip(vectors, packed["data"], strict=True):
        assert array("f", base64.b64decode(one["embedding"])).tolist() == pytest.approx(vector)


async def test_embeddings_are_as_long_as_the_common_model_makes_them(http: aiohttp.ClientSession) -> None:
    body = await (await http.post(EMBEDDINGS, json=embeddings())).json()
    assert len(body["data"][0]["embedding"]) == 1536


async def test_models_and_health(http: aiohttp.ClientSession) -> None:
    models = await (await http.get("/v1/models")).json()
    assert {"gpt-4o-mini", "text-embedding-3-small"} <= {model["id"] for model in models["data"]}
    assert await (await http.get("/healthz")).json() == {"status": "ok", "simulated": True}


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", CHAT, b"{", 400),
        ("POST", CHAT, b'{"model": "m"}', 400),
        ("GET", CHAT, None, 405),
        ("POST", "/v1/images", b"{}", 404),
        ("PUT", "/faults", b'{"hang_rate": 7}', 400),
        ("PUT", "/faults", b"{", 400),
        ("POST", CHAT, b"x" * (BODY_BYTES_MAX + 1), 413),
    ],
)
async def test_errors_have_openais_form_and_say_what_they_are(
    http: aiohttp.ClientSession, method: str, path: str, data: bytes | None, status: int
) -> None:
    sent = None if data is None else io.BytesIO(data)  # of large bytes as such aiohttp warns
    async with http.request(method, path, data=sent, expect100=True) as response:
        body = await response.json()
    assert response.status == status
    assert response.headers["x-simulated"] == "true"
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"].startswith("Simulated provider: ")


async def test_a_key_is_asked_of_everything_but_health() -> None:
    async with SimulatedProvider(api_key="k1") as provider, aiohttp.ClientSession(provider.url) as http:
        for path in ("/v1/models", "/calls", "/faults", "/nowhere"):
            assert (await http.get(path)).status == 401
        for headers in ({}, {"authorization": "Bearer k2"}, {"authorization": "k1"}):
            refused = await http.post(CHAT, json=chat(), headers=headers)
            assert (refused.status, (await refused.json())["error"]["code"]) == (401, "invalid_api_key")
        assert (await http.get("/healthz")).status == 200
        assert (await http.post(CHAT, json=chat(), headers={"authorization": "Bearer k1"})).status == 200
        assert provider.calls().by_status == {"401": 3, "200": 1}


async def test_an_error_rate_of_one(provider: SimulatedProvider, http: aiohttp.ClientSession) -> None:
    provider.set_behaviour(Behaviour(error_rate=1))
    statuses = {(await http.post(CHAT, json=chat())).status for _ in range(40)}
    assert statuses == {500, 503}


async def test_a_429_says_how_long_to_wait(provider: SimulatedProvider, http: aiohttp.ClientSession) -> None:
    provider.set_behaviour(Behaviour(rate_limited_rate=1, retry_after_s=17))
    response = await http.post(CHAT, json=chat())
    assert (response.status, response.headers["retry-after"]) == (429, "17")
    assert (await response.json())["error"]["code"] == "rate_limit_exceeded"


async def test_the_limit_gives_real_429s(provider: SimulatedProvider, http: aiohttp.ClientSession) -> None:
    provider.set_behaviour(Behaviour(requests_per_second_max=0.001))
    passed = await http.post(CHAT, json=chat())
    refused = await http.post(CHAT, json=chat())
    assert (passed.status, refused.status) == (200, 429)
    assert passed.headers["x-ratelimit-limit-requests"] == "1"
    assert passed.headers["x-ratelimit-remaining-requests"] == "0"
    assert passed.headers["x-ratelimit-reset-requests"] == "1000000ms"
    assert int(refused.headers["retry-after"]) > 900
    assert provider.calls().by_fault == {}


async def test_calls_above_those_it_takes_at_once_are_turned_away(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(latency=AN_HOUR, calls_at_once_max=1, retry_after_s=3))
    first = asyncio.create_task(http.post(CHAT, json=chat()))
    await asyncio.wait_for(provider.reached(1), DEADLINE_S)
    refused = await http.post(CHAT, json=chat())
    assert (refused.status, refused.headers["retry-after"]) == (429, "3")
    first.cancel()
    await counts_once(http, lambda counts: counts["in_flight"] == 0)
    provider.set_behaviour(Behaviour(calls_at_once_max=1))
    assert (await http.post(CHAT, json=chat())).status == 200


@pytest.mark.parametrize(
    "behaviour", [Behaviour(hang_rate=1), Behaviour(latency=AN_HOUR)], ids=["hang", "latency"]
)
async def test_an_answer_that_does_not_come(
    provider: SimulatedProvider, http: aiohttp.ClientSession, behaviour: Behaviour
) -> None:
    provider.set_behaviour(behaviour)
    call = asyncio.create_task(http.post(CHAT, json=chat()))
    await asyncio.wait_for(provider.reached(1), DEADLINE_S)
    await counts_once(http, lambda counts: counts["in_flight"] == 1)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    counts = await counts_once(http, lambda counts: counts["in_flight"] == 0)
    assert (counts["total"], counts["in_flight_most"], counts["abandoned"]) == (1, 1, 1)


async def test_a_slow_first_byte(provider: SimulatedProvider, http: aiohttp.ClientSession) -> None:
    provider.set_behaviour(Behaviour(slow_first_byte_rate=1, slow_first_byte_ms=1))
    assert (await http.post(CHAT, json=chat())).status == 200
    assert provider.calls().by_fault == {Fault.SLOW_FIRST_BYTE: 1}


@pytest.mark.parametrize("fault", [Fault.BROKEN_JSON, Fault.TRUNCATED])
@pytest.mark.parametrize("asked", [(CHAT, chat()), (EMBEDDINGS, embeddings())], ids=["chat", "embeddings"])
async def test_a_body_that_is_not_json(
    provider: SimulatedProvider, http: aiohttp.ClientSession, asked: tuple[str, Any], fault: Fault
) -> None:
    provider.set_behaviour(Behaviour(canned=(CannedAnswer(fault=fault),)))
    path, body = asked
    response = await http.post(path, json=body)
    assert response.status == 200
    data = await response.read()
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(data)


async def test_a_connection_dropped_before_the_answer(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(drop_before_answer_rate=1))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(CHAT, json=chat())
    assert provider.calls().by_status == {"none": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_dropped_in_the_body(
    provider: SimulatedProvider, http: aiohttp.ClientSession, stream: bool
) -> None:
    provider.set_behaviour(Behaviour(drop_in_body_rate=1))
    response = await http.post(CHAT, json=chat(stream=stream))
    assert response.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_a_truncated_stream_ends_without_its_last_event(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(truncated_rate=1))
    chunks = await events_of(await http.post(CHAT, json=chat(stream=True)))
    assert chunks
    assert "[DONE]" not in chunks
    assert not any('"finish_reason":"stop"' in chunk for chunk in chunks)


async def test_a_broken_stream_holds_an_event_that_is_not_json(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(broken_json_rate=1))
    *chunks, done = await events_of(await http.post(CHAT, json=chat(stream=True)))
    assert done == "[DONE]"
    with pytest.raises(orjson.JSONDecodeError):
        [orjson.loads(chunk) for chunk in chunks]


@pytest.mark.parametrize("asked", [(CHAT, chat()), (EMBEDDINGS, embeddings())], ids=["chat", "embeddings"])
async def test_missing_usage(
    provider: SimulatedProvider, http: aiohttp.ClientSession, asked: tuple[str, Any]
) -> None:
    provider.set_behaviour(Behaviour(missing_usage_rate=1))
    path, body = asked
    assert "usage" not in await (await http.post(path, json=body)).json()


async def test_a_stream_can_lack_the_usage_it_was_asked_for(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(missing_usage_rate=1))
    asked = chat(stream=True, stream_options={"include_usage": True})
    *chunks, _ = await events_of(await http.post(CHAT, json=asked))
    assert all(orjson.loads(chunk)["usage"] is None for chunk in chunks)


async def test_absurd_usage_takes_every_form(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(absurd_usage_rate=1))
    bodies = [await (await http.post(CHAT, json=chat(seed=seed))).json() for seed in range(30)]
    assert {body["usage"]["prompt_tokens"] for body in bodies} == {-7, 10**18, "many"}


@pytest.mark.parametrize("asked", [(CHAT, chat()), (EMBEDDINGS, embeddings())], ids=["chat", "embeddings"])
async def test_an_oversized_answer_is_whole_and_large(
    provider: SimulatedProvider, http: aiohttp.ClientSession, asked: tuple[str, Any]
) -> None:
    provider.set_behaviour(Behaviour(oversized_rate=1, oversized_bytes=3_000_000))
    path, body = asked
    data = await (await http.post(path, json=body)).read()
    assert len(data) >= 3_000_000
    assert orjson.loads(data)["system_fingerprint"] == "simulated"


async def test_the_behaviour_is_replaced_while_it_runs(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    wanted = {"error_rate": 1, "canned": [{"contains": "marker", "status": 418}]}
    async with http.put("/faults", json=wanted) as response:
        assert (await response.json())["error_rate"] == 1
    assert provider.behaviour == Behaviour(
        error_rate=1, canned=(CannedAnswer(contains="marker", status=418),)
    )
    assert (await http.post(CHAT, json=chat(user="marker"))).status == 418
    assert (await http.post(CHAT, json=chat())).status in {500, 503}
    await http.put("/faults", json={})
    assert (await (await http.get("/faults")).json())["error_rate"] == 0
    assert (await http.post(CHAT, json=chat())).status == 200


async def test_a_behaviour_that_is_refused_changes_nothing(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    assert (await http.put("/faults", json={"hang_rate": 1, "speling": 1})).status == 400
    assert provider.behaviour == Behaviour()


async def test_a_status_of_the_providers_own(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(canned=(CannedAnswer(status=529),)))
    response = await http.post(CHAT, json=chat())
    assert (response.status, response.reason) == (529, "Simulated")


async def test_calls_are_counted_by_job_and_by_status(
    provider: SimulatedProvider, http: aiohttp.ClientSession
) -> None:
    provider.set_behaviour(Behaviour(canned=(CannedAnswer(job_id="j1", attempt_max=2, status=503),)))
    for attempt in (1, 2, 3):
        headers = {"x-headworks-job-id": "j1", "x-headworks-attempt": str(attempt)}
        await http.post(CHAT, json=chat(), headers=headers)
    await http.post(CHAT, json=chat(), headers={"x-headworks-job-id": "j2"})
    await http.post(CHAT, json=chat())
    of_job = await (await http.get("/calls", params={"job_id": "j1"})).json()
    assert of_job == {"total": 3, "by_status": {"503": 2, "200": 1}, "by_fault": {}}
    assert (provider.calls("j1").total, provider.calls("j2").total, provider.calls("j3").total) == (3, 1, 0)
    everything = await (await http.get("/calls", params={"by_job": "true"})).json()
    assert (everything["total"], everything["jobs"], everything["jobs_called_again"]) == (5, 2, 1)
    assert everything["by_job"] == {"j1": 3, "j2": 1}


async def test_many_calls_wait_at_once(provider: SimulatedProvider) -> None:
    provider.set_behaviour(Behaviour(hang_rate=1))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(provider.url, connector=connector) as http:
        calls = [asyncio.create_task(http.post(CHAT, json=chat())) for _ in range(200)]
        await asyncio.wait_for(provider.reached(200), DEADLINE_S)
        assert (await (await http.get("/calls")).json())["in_flight"] == 200
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_leaving_ends_the_calls_that_wait() -> None:
    async with SimulatedProvider(behaviour=Behaviour(hang_rate=1)) as provider:
        session = aiohttp.ClientSession(provider.url)
        call = asyncio.create_task(session.post(CHAT, json=chat()))
        await asyncio.wait_for(provider.reached(1), DEADLINE_S)
    with pytest.raises(aiohttp.ClientConnectionError):
        await call
    await session.close()


async def exchange(provider: SimulatedProvider, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


async def test_requests_sent_ahead_are_answered_in_order(provider: SimulatedProvider) -> None:
    ask = b"GET /healthz HTTP/1.1\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n"
    answers = await exchange(provider, ask * 3000 + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 3000
    assert answers.rfind(b"HTTP/1.1 404") > answers.rfind(b"HTTP/1.1 200")


async def test_bytes_that_are_not_http_are_answered_and_dropped(provider: SimulatedProvider) -> None:
    answer = await exchange(provider, b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\nx-simulated: true\r\n")


async def test_a_flood_behind_a_waiting_call_ends_the_connection(provider: SimulatedProvider) -> None:
    provider.set_behaviour(Behaviour(hang_rate=1))
    body = orjson.dumps(chat())
    call = b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
    with pytest.raises(ConnectionError):
        await exchange(provider, call + b"x" * (17 * 1024 * 1024))
