"""The proxy that fault tests put before servers does what its verbs say."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from tests.services.proxy import Proxy
from tests.services.server import HOST, free_port

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
DELAY_S = 0.1
DEADLINE_S = 10
QUIET_S = 0.2


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that sends back what it gets."""
    served: set[asyncio.Future[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        served.add(done)
        with suppress(ConnectionError):
            while piece := await reader.read(1024):
                writer.write(piece)
        writer.transport.abort()
        done.set_result(None)

    server = await asyncio.start_server(echo, HOST, 0)
    with Proxy(server.sockets[0].getsockname()[1]) as made:
        yield made
    server.close()
    await asyncio.gather(*served)


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(connection: Connection, question: bytes) -> bytes:
    reader, writer = connection
    writer.write(question)
    async with asyncio.timeout(DEADLINE_S):
        return await reader.read(1024)


async def says_nothing(connection: Connection) -> bool:
    connection[1].write(b"?")
    try:
        async with asyncio.timeout(QUIET_S):
            await connection[0].read(1024)
    except TimeoutError:
        return True
    return False


async def test_what_is_sent_arrives(proxy: Proxy) -> None:
    async with connected(proxy) as connection:
        assert await ask(connection, b"canal") == b"canal"
        assert await ask(connection, b"lock") == b"lock"


async def test_a_server_that_closes_is_passed_on_with_what_it_said(proxy: Proxy) -> None:
    proxy.delay_s = DELAY_S
    async with connected(proxy) as (reader, writer):
        writer.write(b"canal")
        assert await reader.readexactly(5) == b"canal"
        writer.write_eof()
        assert await reader.read() == b""


async def test_delay_is_set_while_it_runs_and_counts_each_way(proxy: Proxy) -> None:
    async with connected(proxy) as connection:
        assert await ask(connection, b"canal") == b"canal"
        proxy.delay_s = DELAY_S
        asked = time.monotonic()
        assert await ask(connection, b"lock") == b"lock"
        assert time.monotonic() - asked >= 2 * DELAY_S


async def test_a_cut_resets_what_there_is_and_takes_what_is_new(proxy: Proxy) -> None:
    async with connected(proxy) as connection:
        assert await ask(connection, b"canal") == b"canal"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await ask(connection, b"canal")
    async with connected(proxy) as connection:
        assert await ask(connection, b"lock") == b"lock"


async def test_who_is_refused_cannot_connect_until_it_is_over(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, proxy.port)
    proxy.restore()
    async with connected(proxy) as connection:
        assert await ask(connection, b"lock") == b"lock"


async def test_silence_takes_connections_and_leaves_them_dead(proxy: Proxy) -> None:
    async with connected(proxy) as before:
        assert await ask(before, b"canal") == b"canal"
        proxy.silence()
        async with connected(proxy) as meanwhile:
            assert await says_nothing(before)
            assert await says_nothing(meanwhile)
            proxy.restore()
            assert await says_nothing(before)
            assert await says_nothing(meanwhile)
    async with connected(proxy) as connection:
        assert await ask(connection, b"lock") == b"lock"


async def test_nobody_behind_it_is_an_end_of_the_connection() -> None:
    with Proxy(free_port()) as proxy:
        async with connected(proxy) as (reader, _):
            assert await reader.read() == b""
