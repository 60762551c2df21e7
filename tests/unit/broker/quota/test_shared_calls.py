"""The connection that all calls share, at a server that is frozen: it takes connections and answers none."""

import asyncio

from redis import exceptions
from redis.asyncio import Redis

from broker.quota.calls import SharedCalls

CALLERS = 8


async def test_those_who_waited_for_a_connection_do_not_each_wait_for_another() -> None:
    opened: list[asyncio.StreamWriter] = []

    async def freeze(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)

    server = await asyncio.start_server(freeze, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_timeout=0.05) as client:
        calls = SharedCalls(client)
        asked = [calls.run(lambda _: [("PING",)]) for _ in range(CALLERS)]
        ends = await asyncio.gather(*asked, return_exceptions=True)
        for writer in opened:
            writer.close()
    assert {type(end) for end in ends} == {exceptions.TimeoutError}
    assert len(opened) < CALLERS
