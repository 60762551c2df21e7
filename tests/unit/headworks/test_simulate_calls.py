"""The counts and the log of calls."""

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest

from headworks.simulate import Behaviour, Fault, SimulatedProvider
from headworks.simulate.calls import Call, CallCounts

DEADLINE_S = 10
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a secret"}], "max_tokens": 9}


def call(job_id: str | None = None, status: int | None = 200, fault: Fault | None = None) -> Call:
    return Call(1.5, job_id, 0, 1, "m", status, fault, 3, 4, "ab" * 32)


async def post(provider: SimulatedProvider, **headers: str) -> None:
    named = {f"x-headworks-{name.replace('_', '-')}": value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http:
        await http.post(f"{provider.base_url}/chat/completions", json=BODY, headers=named)


async def lines_of(path: Path, count: int) -> list[dict[str, object]]:
    """The log's lines once there are `count`: another process would read them so, while the provider runs."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            lines = (await asyncio.to_thread(path.read_bytes)).splitlines()
            if len(lines) >= count:
                return [orjson.loads(line) for line in lines]


async def test_a_call_is_logged_while_the_provider_runs(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    async with SimulatedProvider(log=log) as provider:
        await post(provider, job_id="j1", run="0", attempt="2")
        (line,) = await lines_of(log, 1)
    assert isinstance(line.pop("t"), float)
    assert len(str(line.pop("body_sha256"))) == 64
    assert line == {
        "job_id": "j1",
        "run": 0,
        "attempt": 2,
        "model": "gpt-4o-mini",
        "status": 200,
        "fault": None,
        "prompt_tokens": 5,
        "completion_tokens": 9,
    }
    assert b"secret" not in await asyncio.to_thread(log.read_bytes)


async def test_a_call_is_logged_before_its_answer(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    async with SimulatedProvider(log=log, behaviour=Behaviour(hang_rate=1)) as provider:
        waiting = asyncio.create_task(post(provider, job_id="j1"))
        (line,) = await lines_of(log, 1)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (line["status"], line["fault"], line["completion_tokens"]) == (None, "hang", None)


async def test_leaving_writes_what_is_left_and_appends(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    for _ in range(2):
        async with SimulatedProvider(log=log) as provider:
            await post(provider)
    assert len(await lines_of(log, 2)) == 2


async def test_a_log_that_cannot_be_written_is_told_once() -> None:
    async with SimulatedProvider(log=Path("/dev/full")) as provider:
        await post(provider)
        failure = await asyncio.wait_for(provider.failed(), DEADLINE_S)
        assert isinstance(failure, OSError)
        await post(provider)
        assert provider.calls().total == 2


async def test_a_log_that_cannot_be_opened_keeps_the_provider_from_starting(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with SimulatedProvider(log=tmp_path / "nowhere" / "calls.jsonl"):
            raise AssertionError


async def test_a_taken_port_keeps_the_provider_from_starting() -> None:
    async with SimulatedProvider() as first:
        with pytest.raises(OSError, match="address already in use"):
            async with SimulatedProvider(port=first.port):
                raise AssertionError


def test_counts_tell_statuses_and_faults_apart() -> None:
    counts = CallCounts()
    for one in (call("a"), call("a", 503, Fault.ERROR), call("a", None, Fault.HANG), call("b"), call()):
        counts.began(one)
    assert counts.of_all().by_status == {"200": 3, "503": 1, "none": 1}
    assert counts.of_all().by_fault == {"error": 1, "hang": 1}
    assert counts.of_job("a").total == 3
    assert counts.summary()["jobs_called_again"] == 1


def test_the_oldest_jobs_are_forgotten_and_that_is_told() -> None:
    counts = CallCounts(jobs_max=2)
    for job in ("a", "b", "c"):
        counts.began(call(job))
    assert [counts.of_job(job).total for job in ("a", "b", "c")] == [0, 1, 1]
    assert (counts.summary()["jobs"], counts.summary()["jobs_forgotten"]) == (3, 1)
    assert counts.of_all().total == 3


async def test_those_who_wait_for_a_number_of_calls_are_woken_by_it() -> None:
    counts = CallCounts()
    two, three = asyncio.create_task(counts.reach(2)), asyncio.create_task(counts.reach(3))
    given_up = asyncio.create_task(counts.reach(2))
    await asyncio.wait_for(counts.reach(0), DEADLINE_S)
    given_up.cancel()
    counts.began(call())
    counts.began(call())
    await asyncio.wait_for(two, DEADLINE_S)
    assert not three.done()
    counts.began(call())
    await asyncio.wait_for(three, DEADLINE_S)
