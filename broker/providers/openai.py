"""Any OpenAI-compatible endpoint, over aiohttp."""

import asyncio
import hashlib
import io
import re
import time
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final

import aiohttp
import orjson
from multidict import CIMultiDict, istr
from yarl import URL

from broker.errors import SettingsInvalid
from broker.pricing.usage import read_usage
from broker.providers.classify import Accepted, Refused, Retryable, classify, nothing_left_ms
from broker.providers.provider import Answer, Call, Failed, Rejected, Result
from broker.providers.translation import ERRORS, translate
from broker.settings import ProviderTarget
from schemas.envelope import Endpoint
from schemas.reasons import Failure

ERROR_BYTES_MAX: Final = 64 * 1024
ERROR_BODY_S: Final = 5.0
"""How long the body of an error may take: its status has said what matters."""
KEEPALIVE_S: Final = 15.0
DNS_TTL_S: Final = 30
_BYTES_AT_ONCE_MAX: Final = 2**20
"""aiohttp writes bytes in one piece, and warns of it beyond this."""
_ERROR_CODE: Final = re.compile(r"[a-z]{1,20}(?:_[a-z0-9]{1,20}){0,5}")
_JOB_ID, _RUN, _ATTEMPT, _KEY = map(
    istr, ("X-Headworks-Job-Id", "X-Headworks-Run", "X-Headworks-Attempt", "Idempotency-Key")
)


class OpenAIProvider:
    """One target. A call never raises for what a server does; a cancelled one closes its connection."""

    def __init__(self, name: str, target: ProviderTarget) -> None:
        """Must run inside the event loop. Raises SettingsInvalid."""
        headers = constant_headers(name, target)
        self._urls = {endpoint: url_of(name, target.base_url, endpoint) for endpoint in _SHAPES}
        self._response_bytes_max = target.response_bytes_max
        self._timeout_s = target.timeout_s
        self._timeout = _timeout(target.timeout_s, target.connect_timeout_s)
        self._connect_timeout_s = target.connect_timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=target.connections_max, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=DNS_TTL_S
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(self, call: Call) -> Result:
        started = time.monotonic()
        try:
            async with self._session.post(
                self._urls[call.endpoint],
                data=call.body if len(call.body) <= _BYTES_AT_ONCE_MAX else io.BytesIO(call.body),
                headers=_headers(call),
                allow_redirects=False,
                timeout=self._timeout_of(call),
            ) as response:
                return await self._judge(call, response, started)
        except ERRORS as error:
            trouble = translate(error)
            return Failed(trouble.failure, trouble.sent, _ms_since(started))

    def _timeout_of(self, call: Call) -> aiohttp.ClientTimeout:
        if call.timeout_s is None or call.timeout_s >= self._timeout_s:
            return self._timeout
        return _timeout(call.timeout_s, self._connect_timeout_s)

    async def _judge(self, call: Call, response: aiohttp.ClientResponse, started: float) -> Result:
        status = response.status
        match classify(status, response.headers, int(time.time() * 1000)):
            case Accepted():
                return await self._answer(call, response, started)
            case Retryable(failure, retry_after_ms, sent):
                await _error_body(response)
                return Failed(failure, sent, _ms_since(started), status, retry_after_ms)
            case Refused(refusal):
                code = _error_code(await _error_body(response))
                return Rejected(refusal, status, _ms_since(started), code)

    async def _answer(self, call: Call, response: aiohttp.ClientResponse, started: float) -> Answer | Failed:
        body = await _read(response, self._response_bytes_max)
        if body is None:
            return Failed(Failure.ANSWER_TOO_LARGE, True, _ms_since(started), response.status)
        document = _document(body)
        if not _SHAPES[call.endpoint](document):
            return Failed(Failure.BROKEN_ANSWER, True, _ms_since(started), response.status)
        usage = read_usage(document, call.endpoint, call.counting)
        digest = hashlib.sha256(body).hexdigest()
        left_ms = nothing_left_ms(response.headers)
        return Answer(response.status, body, usage, digest, _ms_since(started), left_ms)


def url_of(name: str, base_url: str, endpoint: Endpoint) -> URL:
    """Where to send a call: a base URL with a path takes the place of `/v1`, as in OpenAI's own libraries.

    Raises SettingsInvalid on a base URL that is none, has a user, a query or a fragment, or has no host.
    """
    try:
        base = URL(base_url)
    except ValueError:
        raise SettingsInvalid(f"providers.{name}.base_url: its host or port cannot be read") from None
    if base.user is not None or base.query_string or base.fragment or base.host is None:
        raise SettingsInvalid(f"providers.{name}.base_url: must be scheme, host, port and path alone")
    path = base.raw_path.rstrip("/") or "/v1"
    return base.with_path(path + endpoint.removeprefix("/v1"), encoded=True)


def constant_headers(name: str, target: ProviderTarget) -> CIMultiDict[str]:
    """What every call carries. Raises SettingsInvalid on an API key that fits no header."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "headworks",
    }
    if target.api_key is not None:
        key = target.api_key.get_secret_value()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsInvalid(f"providers.{name}.api_key: must be printable ASCII without spaces")
        headers["Authorization"] = f"Bearer {key}"
    return CIMultiDict({istr(header): content for header, content in headers.items()})


def _headers(call: Call) -> CIMultiDict[str]:
    job_id, run, attempt = str(call.job_id), str(call.run), str(call.attempt)
    return CIMultiDict(
        ((_JOB_ID, job_id), (_RUN, run), (_ATTEMPT, attempt), (_KEY, f"{job_id}-{run}-{attempt}"))
    )


def _timeout(total_s: float, connect_s: float) -> aiohttp.ClientTimeout:
    """The limit on connecting covers the wait for a free connection too: until then nothing was sent."""
    return aiohttp.ClientTimeout(total=total_s, connect=min(connect_s, total_s))


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes | None:
    """The whole body, or None as soon as it is larger than `bytes_max`."""
    if (response.content_length or 0) > bytes_max:
        return None
    content = response.content
    body = await content.readany()
    if content.at_eof():
        return body if len(body) <= bytes_max else None
    pieces, size = [body], len(body)
    while size <= bytes_max and not content.at_eof():
        pieces.append(await content.readany())
        size += len(pieces[-1])
    return b"".join(pieces) if size <= bytes_max else None


async def _error_body(response: aiohttp.ClientResponse) -> bytes | None:
    """Read, so that the connection can be used again. What goes wrong here adds nothing to the status."""
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return await _read(response, ERROR_BYTES_MAX)
    except ERRORS:
        return None


def _error_code(body: bytes | None) -> str | None:
    document = _document(body or b"")
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _is_chat(document: Any) -> bool:
    choices = document.get("choices") if isinstance(document, dict) else None
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(_has(choice, "message", dict) for choice in choices)
    )


def _is_embeddings(document: Any) -> bool:
    data = document.get("data") if isinstance(document, dict) else None
    return isinstance(data, list) and bool(data) and all(_has(one, "embedding", list | str) for one in data)


def _has(value: Any, name: str, kind: type | UnionType) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), kind)


_SHAPES: Final[Mapping[Endpoint, Callable[[Any], bool]]] = {
    "/v1/chat/completions": _is_chat,
    "/v1/embeddings": _is_embeddings,
}
