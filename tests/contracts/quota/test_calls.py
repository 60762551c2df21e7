"""One connection that many calls share: each gets its own answer, and none is lost with the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from redis import exceptions
from redis.asyncio import Redis

from broker.quota.calls import CALLS_MAX, Command, SharedCalls
from tests.services.proxy import Proxy
from tests.stack.waiting import until


@asynccontextmanager
async def shared(port: int, timeout_s: float = 5.0) -> AsyncIterator[SharedCalls]:
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_timeout=timeout_s) as client:
        yield SharedCalls(client)


async def say(calls: SharedCalls, *commands: Command) -> list[Any]:
    return await calls.run(lambda _: commands)


async def blocked(admin: Redis) -> bool:
    return bool((await admin.info("clients"))["blocked_clients"])


async def test_calls_that_are_under_way_together_each_get_their_own_answers(redis_server: Any) -> None:
    async with shared(redis_server.port) as calls:
        asked = [
            [("ECHO", f"{call}.{number}") for number in range(call % 4 + 1)] for call in range(CALLS_MAX * 3)
        ]
        answers = await asyncio.gather(*(say(calls, *commands) for commands in asked))
    assert answers == [[text.encode() for _, text in commands] for commands in asked]


async def test_a_caller_that_goes_away_takes_nobody_elses_answer(redis_server: Any) -> None:
    async with shared(redis_server.port) as calls:
        await say(calls, ("PING",))
        gone, stays = (asyncio.create_task(say(calls, ("ECHO", text))) for text in ("gone", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == [b"stays"]
        assert await say(calls, ("ECHO", "later")) == [b"later"]


async def test_errors_of_redis_stand_among_the_answers(redis_server: Any) -> None:
    async with shared(redis_server.port) as calls:
        first, unknown, last = await say(calls, ("ECHO", "a"), ("EVALSHA", "0" * 40, 0), ("ECHO", "b"))
    assert (first, last) == (b"a", b"b")
    assert isinstance(unknown, exceptions.NoScriptError)


async def test_what_was_under_way_when_the_connection_broke_is_sent_again(redis_server: Any) -> None:
    key = uuid4().hex
    async with Redis.from_url(redis_server.url) as admin:
        with Proxy(redis_server.port) as proxy:
            async with shared(proxy.port) as calls:
                waiting = asyncio.create_task(say(calls, ("BLPOP", key, 0)))
                await until(lambda: blocked(admin), "the call to be under way")
                proxy.cut()
                await admin.rpush(key, "a", "b")
                async with asyncio.timeout(10):
                    ((_, text),) = await waiting
                assert text in {b"a", b"b"}
        await admin.delete(key)


async def test_a_call_without_an_answer_ends_in_time_and_the_next_has_another_connection(
    redis_server: Any,
) -> None:
    async with shared(redis_server.port, timeout_s=0.05) as calls, asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await say(calls, ("BLPOP", uuid4().hex, 0))
        assert await say(calls, ("ECHO", "a")) == [b"a"]


async def test_the_run_id_is_that_of_the_process_at_the_other_end(redis_server: Any) -> None:
    async with Redis.from_url(redis_server.url) as admin, shared(redis_server.port) as calls:
        run_id = (await admin.info("server"))["run_id"]
        assert await calls.run(lambda found: [("ECHO", found)]) == [run_id.encode()]
