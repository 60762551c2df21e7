"""A TCP proxy that stands before a server and does what networks do: delays, cuts, refuses, goes silent."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.services.server import HOST, free_port

T = TypeVar("T")
_CHUNK_BYTES = 64 * 1024
_CHUNKS_MAX = 64
_COMMAND_TIMEOUT_S = 10
_NO_LINGER = struct.pack("ii", 1, 0)
"""A socket that is closed under it resets its connection."""


class Proxy:
    """`with Proxy(to=port) as proxy`: listens on `proxy.port`, on a thread of its own.

    It may stand before a port that nobody listens on yet; connections made then are closed at once.
    """

    def __init__(self, to: int, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._to = to
        self.delay_s = 0.0
        """Of every byte, each way."""
        self._is_silent = False
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-to-{to}", daemon=True)

    # what it does, from any thread

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Reset every connection, and let nobody connect until `restore`."""
        self._do(self._refuse())

    def silence(self) -> None:
        """Let nothing pass and nobody know. Connections of this time stay dead when it is over, as those are
        that a firewall has forgotten: only their ends' own time-outs find that out.
        """
        self._is_silent = True
        self._do(self._deafen())

    def restore(self) -> None:
        """Pass everything on again, at once."""
        self.delay_s = 0.0
        self._is_silent = False
        self._do(self._listen())

    # its life

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_COMMAND_TIMEOUT_S)
        self._loop.close()

    def _do(self, act: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(_COMMAND_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self.port, limit=_CHUNK_BYTES)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        ending = list(self._links)
        for link in self._links.values():
            link.reset()
        if ending:
            await asyncio.wait(ending)

    async def _deafen(self) -> None:
        for link in self._links.values():
            link.is_dead = True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = _Link(self, writer, is_dead=self._is_silent)
        self._links[task] = link
        try:
            with suppress(OSError):
                await link.run(reader, self._to)
        finally:
            link.close()
            del self._links[task]


class _Link:
    """One connection: a client's, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, *, is_dead: bool) -> None:
        self._proxy = proxy
        self._writers = [client]
        self._was_reset = asyncio.Event()
        self.is_dead = is_dead

    async def run(self, reader: asyncio.StreamReader, to: int) -> None:
        """Until either end closes, and what it sent before is delivered; a dead one until it is reset."""
        server_reader, server = await asyncio.open_connection(HOST, to, limit=_CHUNK_BYTES)
        self._writers.append(server)
        ways = [
            asyncio.create_task(self._pass_on(reader, server)),
            asyncio.create_task(self._pass_on(server_reader, self._writers[0])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if self.is_dead:
                await self._was_reset.wait()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def reset(self) -> None:
        self._was_reset.set()
        for writer in self._writers:
            with suppress(OSError):  # closed already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_MAX)
        delivering = asyncio.create_task(self._deliver(on_the_way, writer))
        try:
            now = asyncio.get_running_loop().time
            while piece := await reader.read(_CHUNK_BYTES):
                await on_the_way.put((now() + self._proxy.delay_s, piece))
            await on_the_way.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(
        self, on_the_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, piece = await on_the_way.get()
            if not piece:
                return
            await asyncio.sleep(max(0.0, due - now()))
            if not self.is_dead:
                writer.write(piece)
                await writer.drain()
