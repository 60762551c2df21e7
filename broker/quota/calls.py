"""How commands reach Redis: through one connection that all calls of a process share, or through a pool.

redis-py opens the shared connection (TLS, password, database) and then stands aside: its own way of sending a
command and awaiting the answer costs 60 to 110 µs of CPU a round trip, the one here about 15. A cluster's
nodes and the embedded server have no such connection.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

import hiredis
from redis import exceptions
from redis._parsers import BaseParser
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection

CALLS_MAX: Final = 16
"""Under way at a time; the others wait their turn."""

Command = tuple[str | int | bytes, ...]

Commands = Callable[[str], Sequence[Command]]
"""What to send, made for a connection to the Redis process of this run id; empty where that is not known."""

_NOTHING: Final = object()
_RUN_ID: Final = re.compile(rb"run_id:(\w+)")
_PACK: Final = cast(Callable[[Command], bytes], hiredis.pack_command)
_BROKEN: Final = (exceptions.ConnectionError, OSError)
"""A timeout is an OSError."""


class Calls(Protocol):
    """Both raise what the client raises: `broker.quota.translation` knows what it means."""

    async def run(self, commands: Commands) -> list[Any]:
        """All in one round trip. Their answers in order, errors of Redis among them."""
        ...


class PooledCalls:
    """Implements `Calls`."""

    def __init__(self, client: Redis | RedisCluster) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CALLS_MAX)

    async def run(self, commands: Commands) -> list[Any]:
        async with self._slots, self._client.pipeline(transaction=False) as pipeline:
            for command in commands(""):
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)


class SharedCalls:
    """Implements `Calls`. The connection is one of the client's pool, and is closed with it."""

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._take = cast(Callable[[], Awaitable[AbstractConnection]], self._pool.get_connection)
        self._timeout_s: float | None = self._pool.connection_kwargs.get("socket_timeout")
        self._wire: _Wire | None = None
        self._opening = asyncio.Lock()
        self._failures = 0
        """To open it, so far."""
        self._slots = asyncio.Semaphore(CALLS_MAX)

    async def run(self, commands: Commands) -> list[Any]:
        """Once more where the connection breaks, or was broken: whatever is sent here may be repeated."""
        async with self._slots:
            try:
                return await self._exchange(commands)
            except _BROKEN:
                return await self._exchange(commands)

    async def _exchange(self, commands: Commands) -> list[Any]:
        wire = self._wire
        if wire is None or wire.is_closed:
            wire = await self._opened()
        return await wire.send(commands(wire.run_id))

    async def _opened(self) -> "_Wire":
        """Who waited while another call failed to open it does not try in turn: at a server that is frozen
        each would wait as long as all before it.
        """
        failures = self._failures
        async with self._opening:
            if self._wire is not None and not self._wire.is_closed:
                return self._wire
            if self._failures > failures:
                raise exceptions.TimeoutError("waited in vain for a connection")
            if self._wire is not None:
                await self._give_up(self._wire)
            try:
                self._wire = await self._open()
            except Exception:
                self._failures += 1
                raise
            return self._wire

    async def _open(self) -> "_Wire":
        """A run id is that of a process, and a connection never comes to another one."""
        connection = await self._take()
        try:
            await connection.send_command("INFO", "server")
            found = _RUN_ID.search(await connection.read_response())
            return _Wire(connection, "" if found is None else found[1].decode(), self._timeout_s)
        except BaseException:
            await self._pool.release(connection)
            raise

    async def _give_up(self, wire: "_Wire") -> None:
        self._wire = None
        await wire.connection.disconnect(nowait=True)
        await self._pool.release(wire.connection)


class _Call(NamedTuple):
    commands: int
    answers: list[Any]
    done: asyncio.Future[list[Any]]
    due_s: float
    """By the loop's clock; then it has taken too long."""


class _Wire(asyncio.Protocol):
    """Takes the place of redis-py's streams on a connection that is ready for commands.

    A call that is not answered within `timeout_s` raises TimeoutError, and ends the connection for all. One
    timer looks after the oldest, since one for each call would be a good part of its cost.
    """

    def __init__(self, connection: AbstractConnection, run_id: str, timeout_s: float | None) -> None:
        self.connection = connection
        self.run_id = run_id
        self._timeout_s = float("inf") if timeout_s is None else timeout_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        writer = connection._writer  # noqa: SLF001 - it has no other way to its transport
        self._transport = cast(asyncio.Transport, cast(asyncio.StreamWriter, writer).transport)
        self._streams = self._transport.get_protocol()
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=_NOTHING,
        )
        self._waiting: deque[_Call] = deque()
        self._transport.set_protocol(self)

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        call = _Call(len(commands), [], self._loop.create_future(), self._loop.time() + self._timeout_s)
        self._waiting.append(call)
        if self._timer is None:
            self._look_after(call)
        self._transport.write(b"".join(map(_PACK, commands)))
        return call.done

    def abort(self) -> None:
        self._transport.abort()

    def _look_after(self, call: _Call) -> None:
        if call.due_s != float("inf"):
            self._timer = self._loop.call_at(call.due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        if self._loop.time() < oldest.due_s:
            self._look_after(oldest)
            return
        if not oldest.done.done():
            oldest.done.set_exception(TimeoutError("Redis did not answer in time"))
        self.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _NOTHING:
                self._answered(answer)
        except (exceptions.InvalidResponse, IndexError):
            self.abort()  # what comes on it cannot be understood any more

    def connection_lost(self, exc: Exception | None) -> None:
        for call in self._waiting:
            if not call.done.done():
                call.done.set_exception(exceptions.ConnectionError("the connection was lost"))
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._streams.connection_lost(exc)  # whoever closes redis-py's connection waits for this

    def _answered(self, answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification):
            return
        call = self._waiting[0]
        call.answers.append(answer)
        if len(call.answers) == call.commands:
            self._waiting.popleft()
            if not call.done.done():
                call.done.set_result(call.answers)


def calls_of(client: Redis | RedisCluster, *, is_embedded: bool) -> Calls:
    """The way that suits the client."""
    return SharedCalls(client) if isinstance(client, Redis) and not is_embedded else PooledCalls(client)
