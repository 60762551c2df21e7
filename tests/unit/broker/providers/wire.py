"""HTTP servers written by hand, so that they can go wrong in any way."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from broker.providers.provider import Call, Result
from schemas.terms import Counting

JOB_ID = UUID("0197f0e6-6d2b-7c5e-9d5f-3a1b2c3d4e5f")
BODY = b'{"model": "m",  "messages": []}'
KEY = "sk-TheSecretKey"
CALL = Call("/v1/chat/completions", BODY, JOB_ID, run=1, attempt=2, counting=Counting())


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """One server; `handle` answers each request."""

    handle: Handler
    base_url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has closed its connection."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await read_request(reader)
                self.requests.append(request)
                self.asked.set()
                await self.handle(request, writer)
                await writer.drain()
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:] if line)
    }
    return Request(head[0], headers, await reader.readexactly(int(headers["content-length"])))


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def always(raw: bytes, *, close: bool = False) -> Handler:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if close:
            await writer.drain()
            writer.close()

    return handle


async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
    """Nothing comes."""


class Serve(Protocol):
    async def __call__(self, handle: Handler) -> Server: ...


Ask = Callable[[Call], Awaitable[Result]]


class Connect(Protocol):
    async def __call__(self, base_url: str, **settings: float) -> Ask: ...
