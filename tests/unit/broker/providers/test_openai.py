import asyncio
import hashlib
import json
import logging
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from broker.errors import SettingsInvalid
from broker.providers.openai import url_of
from broker.providers.provider import Answer
from broker.providers.registry import Providers
from broker.providers.routes import Target
from broker.settings import ProviderTarget
from schemas.reasons import Disbelief
from schemas.state import Usage
from schemas.terms import Counting
from tests.unit.broker.providers.wire import (
    BODY,
    CALL,
    JOB_ID,
    KEY,
    Connect,
    Request,
    Serve,
    always,
    response,
    silent,
)

CHAT = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ja"}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
).encode()


async def test_an_answer_comes_back_as_it_is_with_its_usage_and_digest(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(always(response(200, CHAT, "Content-Type: application/json")))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Answer)
    assert (result.status, result.body) == (200, CHAT)
    assert result.usage == Usage(input_tokens=7, output_tokens=2)
    assert result.response_sha256 == hashlib.sha256(CHAT).hexdigest()
    assert result.latency_ms >= 0


async def test_what_goes_out(serve: Serve, connect: Connect) -> None:
    server = await serve(always(response(200, CHAT, "Set-Cookie: a=b; Path=/")))
    ask = await connect(server.base_url)

    await ask(CALL)
    await ask(CALL)

    assert server.connections == 1
    request = server.requests[-1]
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.body == BODY
    assert request.headers == {
        "host": server.base_url.removeprefix("http://"),
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "headworks",
        "x-headworks-job-id": str(JOB_ID),
        "x-headworks-run": "1",
        "x-headworks-attempt": "2",
        "idempotency-key": f"{JOB_ID}-1-2",
    }


async def test_embeddings_have_an_address_and_a_shape_of_their_own(serve: Serve, connect: Connect) -> None:
    body = b'{"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}'
    server = await serve(always(response(200, body)))
    ask = await connect(server.base_url)

    result = await ask(replace(CALL, endpoint="/v1/embeddings"))

    assert isinstance(result, Answer)
    assert result.usage == Usage(input_tokens=3, output_tokens=0)
    assert server.requests[0].line == "POST /v1/embeddings HTTP/1.1"


async def test_a_body_of_megabytes_goes_out_whole(serve: Serve, connect: Connect) -> None:
    server = await serve(always(response(200, CHAT)))
    ask = await connect(server.base_url)
    body = b"x" * (3 * 2**20)

    assert isinstance(await ask(replace(CALL, body=body)), Answer)
    assert server.requests[0].body == body


async def test_an_answer_in_pieces_is_put_together(serve: Serve, connect: Connect) -> None:
    padded = CHAT + b" " * 300_000

    async def in_chunks(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(padded), 100_000):
            piece = padded[start : start + 100_000]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    server = await serve(in_chunks)
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Answer)
    assert result.body == padded


async def test_an_answer_without_believable_usage_is_still_an_answer(serve: Serve, connect: Connect) -> None:
    server = await serve(
        always(response(200, b'{"choices": [{"message": {}}], "usage": {"prompt_tokens": "7"}}'))
    )
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Answer)
    assert result.usage is Disbelief.USAGE_INVALID


async def test_usage_is_read_as_the_call_s_price_says_that_it_is_counted(
    serve: Serve, connect: Connect
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 39}
    body = {
        "choices": [{"message": {}}],
        "usage": {**usage, "cache_read_input_tokens": 5},
        "service_tier": "flex",
    }
    server = await serve(always(response(200, json.dumps(body).encode())))
    ask = await connect(server.base_url)

    inside = await ask(CALL)
    beside = await ask(replace(CALL, counting=Counting(cached_input="beside", reasoning="beside")))

    assert isinstance(inside, Answer)
    assert inside.usage is Disbelief.USAGE_CONTRADICTORY
    assert isinstance(beside, Answer)
    assert beside.usage == Usage(
        input_tokens=12, cached_input_tokens=5, output_tokens=27, reasoning_tokens=25, service_tier="flex"
    )


async def test_proxies_of_the_environment_are_not_used(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serve(always(response(200, CHAT)))
    server = await serve(always(response(200, CHAT)))
    monkeypatch.setenv("http_proxy", proxy.base_url)
    monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
    ask = await connect(server.base_url)

    await ask(CALL)

    assert (len(proxy.requests), len(server.requests)) == (0, 1)


async def test_a_cancelled_call_closes_its_connection(serve: Serve, connect: Connect) -> None:
    server = await serve(silent)
    ask = await connect(server.base_url)
    call = asyncio.ensure_future(ask(CALL))
    await asyncio.wait_for(server.asked.wait(), 10)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(server.closed.wait(), 10)


async def test_neither_key_nor_text_reaches_a_log(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = {"error": {"message": "hush hush", "code": "bad_thing"}}
    server = await serve(always(response(400, json.dumps(error).encode())))
    ask = await connect(server.base_url)

    await ask(CALL)

    assert KEY not in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/embeddings"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1/embeddings"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/embeddings"),
        ("https://models.example/v1beta/openai", "https://models.example/v1beta/openai/embeddings"),
        ("https://models.example/a%20b", "https://models.example/a%20b/embeddings"),
    ],
)
def test_a_base_url_with_a_path_takes_the_place_of_v1(base_url: str, url: str) -> None:
    assert str(url_of("t", base_url, "/v1/embeddings")) == url


@pytest.mark.parametrize(
    "base_url",
    [
        "http://u:hidden@host/v1",
        "http://host/v1?hidden=1",
        "http://host/#x",
        "http://",
        "http://host:99999/hidden",
        "http://[hidden/v1",
    ],
)
async def test_a_base_url_that_says_more_is_refused(base_url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"providers\.t\.base_url") as caught:
        await Providers.open({"t": ProviderTarget(base_url=base_url)})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "hid den", "hidden\r\nX-Evil: 1", "hiddén"])
async def test_a_key_that_fits_no_header_is_refused(key: str) -> None:
    targets = {
        "good": ProviderTarget(base_url="http://host"),
        "t": ProviderTarget(base_url="http://host", api_key=SecretStr(key)),
    }
    with pytest.raises(SettingsInvalid, match=r"providers\.t\.api_key") as caught:
        await Providers.open(targets)
    assert "hid" not in str(caught.value)


async def test_without_a_key_no_authorization_is_sent(serve: Serve, stack: AsyncExitStack) -> None:
    server = await serve(always(response(200, CHAT)))
    providers = await Providers.open({"t": ProviderTarget(base_url=server.base_url)})
    stack.push_async_callback(providers.close)

    await providers.call(Target("t", "m"), CALL)

    assert "authorization" not in server.requests[0].headers
