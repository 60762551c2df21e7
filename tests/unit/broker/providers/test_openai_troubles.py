import asyncio
import gzip
import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from broker.providers.openai import ERROR_BYTES_MAX
from broker.providers.provider import Answer, Failed, Rejected
from schemas.reasons import Failure, Refusal
from tests.unit.broker.providers.wire import (
    CALL,
    KEY,
    Connect,
    Handler,
    Request,
    Serve,
    always,
    response,
    silent,
)

CHAT = b'{"choices": [{"message": {"role": "assistant", "content": "ja"}}]}'


def refusing(status: int, *headers: str, code: Any = "bad_thing") -> Handler:
    error = {"error": {"message": "the prompt was: hush hush", "code": code}}
    return always(response(status, json.dumps(error).encode(), *headers))


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"choices": [',
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"text": "x"}]}',
        b'{"error": {"message": "x"}}',
        b'{"data": [{"embedding": [1]}]}',
        gzip.compress(CHAT, mtime=0),
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_answer_is_broken(serve: Serve, connect: Connect, body: bytes) -> None:
    server = await serve(always(response(200, body)))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent, result.status) == (Failure.BROKEN_ANSWER, True, 200)


async def test_what_is_not_http_is_broken(serve: Serve, connect: Connect) -> None:
    server = await serve(always(b"SSH-2.0-OpenSSH_9.6\r\n", close=True))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent) == (Failure.BROKEN_ANSWER, True)


@pytest.mark.parametrize(
    "raw",
    [
        response(200, b"x" * 2_000),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2_000 + b"\r\n0\r\n\r\n",
    ],
    ids=["announced", "until the end", "chunked"],
)
async def test_an_answer_over_the_limit_is_cut_off(serve: Serve, connect: Connect, raw: bytes) -> None:
    server = await serve(always(raw, close=True))
    ask = await connect(server.base_url, response_bytes_max=1_024)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent, result.status) == (Failure.ANSWER_TOO_LARGE, True, 200)


async def test_an_endless_answer_is_cut_off(serve: Serve, connect: Connect) -> None:
    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    server = await serve(endless)
    ask = await connect(server.base_url, response_bytes_max=1_000_000)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert result.failure is Failure.ANSWER_TOO_LARGE
    await asyncio.wait_for(server.closed.wait(), 10)


async def test_an_answer_of_exactly_the_limit_passes(serve: Serve, connect: Connect) -> None:
    server = await serve(always(response(200, CHAT.ljust(1_024))))
    ask = await connect(server.base_url, response_bytes_max=1_024)

    assert isinstance(await ask(CALL), Answer)


async def test_nothing_was_sent_where_nobody_listens(connect: Connect) -> None:
    ask = await connect(f"http://127.0.0.1:{closed_port()}")

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent, result.status) == (Failure.CONNECT_FAILED, False, None)


async def test_nothing_was_sent_while_no_connection_is_free(serve: Serve, connect: Connect) -> None:
    server = await serve(silent)
    ask = await connect(server.base_url, connections_max=1, connect_timeout_s=0.05)
    first = asyncio.ensure_future(ask(CALL))
    await asyncio.wait_for(server.asked.wait(), 10)

    second = await ask(CALL)

    assert isinstance(second, Failed)
    assert (second.failure, second.sent) == (Failure.CONNECT_FAILED, False)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_tls_is_not_left_out(serve: Serve, connect: Connect) -> None:
    server = await serve(always(response(200, CHAT)))
    ask = await connect(server.base_url.replace("http://", "https://"), connect_timeout_s=0.1)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent) == (Failure.CONNECT_FAILED, False)
    assert server.requests == []


@pytest.mark.parametrize("limit", [{"timeout_s": 0.05}, {}], ids=["the target's", "the call's"])
async def test_past_the_time_limit_the_outcome_is_unknown(
    serve: Serve, connect: Connect, limit: dict[str, float]
) -> None:
    server = await serve(silent)
    ask = await connect(server.base_url, **limit)

    result = await ask(replace(CALL, timeout_s=None if limit else 0.05))

    assert isinstance(result, Failed)
    assert (result.failure, result.sent) == (Failure.TIMEOUT, True)
    await asyncio.wait_for(server.closed.wait(), 10)


async def test_the_time_limit_covers_the_body(serve: Serve, connect: Connect) -> None:
    server = await serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"))
    ask = await connect(server.base_url, timeout_s=0.05)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent) == (Failure.TIMEOUT, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["no answer", "in the head", "before the body", "in the body", "in a chunk"],
)
async def test_a_connection_that_is_dropped_leaves_the_outcome_unknown(
    serve: Serve, connect: Connect, raw: bytes
) -> None:
    server = await serve(always(raw, close=True))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent) == (Failure.CONNECTION_LOST, True)


@pytest.mark.parametrize(
    ("asked", "least_ms", "most_ms"), [("2", 2_000, 2_000), ("date", 3_000_000, 3_600_000)]
)
async def test_a_rate_limit_says_when_to_come_back(
    serve: Serve, connect: Connect, asked: str, least_ms: int, most_ms: int
) -> None:
    when = http_date_in_an_hour() if asked == "date" else asked
    server = await serve(refusing(429, f"Retry-After: {when}"))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent, result.status) == (Failure.RATE_LIMITED, False, 429)
    assert result.retry_after_ms is not None
    assert least_ms <= result.retry_after_ms <= most_ms


def http_date_in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


async def test_errors_of_the_server_may_be_tried_again(serve: Serve, connect: Connect) -> None:
    server = await serve(refusing(500))
    ask = await connect(server.base_url)

    for _ in range(2):
        result = await ask(CALL)
        assert isinstance(result, Failed)
        assert (result.failure, result.sent, result.status) == (Failure.PROVIDER_ERROR, False, 500)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.PROVIDER_REFUSED),
        (404, Refusal.PROVIDER_REFUSED),
        (401, Refusal.PROVIDER_AUTHENTICATION),
        (403, Refusal.PROVIDER_AUTHENTICATION),
    ],
)
async def test_a_refusal_carries_the_providers_code_alone(
    serve: Serve, connect: Connect, status: int, refusal: Refusal
) -> None:
    server = await serve(refusing(status, code="context_length_exceeded"))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Rejected)
    assert (result.refusal, result.status, result.code) == (refusal, status, "context_length_exceeded")
    assert "hush" not in repr(result)


@pytest.mark.parametrize(
    "code", [None, 400, "", "the prompt was: x", KEY, "sk-proj-abc", "x" * 200, {"a": 1}]
)
async def test_a_code_that_is_no_plain_token_is_left_out(serve: Serve, connect: Connect, code: Any) -> None:
    server = await serve(refusing(400, code=code))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Rejected)
    assert result.code is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "x"}', b"x" * (ERROR_BYTES_MAX + 1)])
async def test_an_error_with_another_body_is_judged_by_its_status(
    serve: Serve, connect: Connect, body: bytes
) -> None:
    server = await serve(always(response(400, body)))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Rejected)
    assert (result.refusal, result.code) == (Refusal.PROVIDER_REFUSED, None)


async def test_an_error_whose_body_breaks_off_is_judged_by_its_status(serve: Serve, connect: Connect) -> None:
    server = await serve(always(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{", close=True))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Failed)
    assert (result.failure, result.sent, result.status) == (Failure.PROVIDER_ERROR, False, 503)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(serve: Serve, connect: Connect, status: int) -> None:
    elsewhere = await serve(always(response(200, CHAT)))
    server = await serve(always(response(status, b"", f"Location: {elsewhere.base_url}/v1/chat/completions")))
    ask = await connect(server.base_url)

    result = await ask(CALL)

    assert isinstance(result, Rejected)
    assert (result.refusal, result.status) == (Refusal.PROVIDER_REFUSED, status)
    assert elsewhere.requests == []
