"""Running lines as jobs: each handled once, some at a time, and nothing that is done again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from broker.errors import TopicsMissing
from headworks.batch.files import Outputs
from headworks.batch.identity import Run
from headworks.batch.lines import Line
from headworks.batch.runner import Plan, Runner
from headworks.batch.session import NothingComesBack, Silence
from headworks.batch.tally import Tally
from headworks.client import Answered, Dead, Job, JobTooLarge, NotDelivered, Result
from schemas.envelope import RetryPolicy

RUN = Run("acme", "run-1")
DEADLINE_S = 10


class Jobs:
    """Stands in for a client: answers by what a request asks for, and remembers who was open at once."""

    def __init__(self) -> None:
        self.seen: list[UUID] = []
        self.open = 0
        self.open_most = 0
        self.refuse_times = 0

    async def run(self, job: Job) -> Result:
        assert job.job_id is not None
        self.seen.append(job.job_id)
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        await asyncio.sleep(0)
        self.open -= 1
        return self._result(job.job_id, job.request["ask"])

    def _result(self, job_id: UUID, ask: Any) -> Result:
        ended: dict[str, Any] = {"job_id": job_id, "run": 1, "cost_nanodollars": 5, "attempts": 1}
        if self.refuse_times > 0:
            self.refuse_times -= 1
            raise NotDelivered(job_id, "test")
        if ask == "too large":
            raise JobTooLarge("too large")
        if ask == "no topic":
            raise TopicsMissing("no topic")
        if ask == "die":
            return Dead(**ended, reason="timeout", message="", dead_letter="dead/0/1")
        return Answered(**ended, response={"said": ask}, model="m", status_code=200)


def request(custom_id: str, ask: str = "hi") -> bytes:
    fields = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {"ask": ask}}
    return orjson.dumps(fields)


async def lines(*raws: bytes | None) -> AsyncIterator[Line]:
    for number, raw in enumerate(raws, start=1):
        yield Line(number, raw)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.paths = (folder / "out.jsonl", folder / "err.jsonl")
        self.jobs = Jobs()
        self.tally = Tally(lines=None)

    async def run(self, *raws: bytes | None, in_flight: int = 4) -> None:
        self.tally = Tally(lines=len(raws))
        plan = Plan(RUN, in_flight, ttl_s=60, retry=RetryPolicy())
        with Outputs(*self.paths, RUN.tag) as outputs:
            runner = Runner(self.jobs, plan, outputs, self.tally)
            await asyncio.wait_for(runner.run(lines(*raws)), DEADLINE_S)

    def written(self) -> dict[str | None, str]:
        """Each line's custom_id and code; the code of an answer is what was said."""
        told: dict[str | None, str] = {}
        for path in self.paths:
            for line in map(orjson.loads, path.read_bytes().splitlines()):
                assert line["custom_id"] not in told or line["custom_id"] is None
                answer = line["response"]
                told[line["custom_id"]] = answer["body"]["said"] if answer else line["error"]["code"]
        return told


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_each_line_has_one_line_in_one_of_the_files(bench: Bench) -> None:
    await bench.run(request("a"), b"{", b"", request("b", "die"), request("c", "too large"), None)
    assert bench.written() == {"a": "hi", "b": "timeout", "c": "body_too_large", None: "line_too_long"}
    assert len(bench.paths[1].read_bytes().splitlines()) == 4
    assert (bench.tally.handled, bench.tally.blank, bench.tally.open) == (6, 1, 0)


async def test_a_second_line_of_the_same_custom_id_is_malformed(bench: Bench) -> None:
    await bench.run(request("a"), request("b"), request("a", "other"))
    assert len(bench.jobs.seen) == 2
    assert bench.tally.malformed == {"duplicate_custom_id": 1}


async def test_no_more_than_so_many_jobs_are_open_at_a_time(bench: Bench) -> None:
    await bench.run(*(request(str(number)) for number in range(40)), in_flight=3)
    assert bench.jobs.open_most == 3
    assert bench.tally.answered == 40


async def test_a_second_session_does_only_what_is_left(bench: Bench) -> None:
    first = [request("a"), b"broken", request("b", "die")]
    await bench.run(*first)
    bench.jobs.seen.clear()
    await bench.run(*first, request("c"))
    assert bench.jobs.seen == [RUN.line_id(4, "c")]
    assert (bench.tally.earlier, bench.tally.answered, bench.tally.handled) == (3, 1, 4)


async def test_an_unacknowledged_job_is_submitted_again_under_its_id(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headworks.batch.runner._RESUBMIT_AFTER_S", 0)
    bench.jobs.refuse_times = 2
    await bench.run(request("a"))
    assert bench.jobs.seen == [RUN.line_id(1, "a")] * 3
    assert (bench.tally.undelivered, bench.tally.answered) == (2, 1)


async def test_what_no_line_can_mend_ends_the_run(bench: Bench) -> None:
    with pytest.raises(TopicsMissing, match="no topic"):
        await bench.run(request("a"), request("b", "no topic"), *(request(str(n)) for n in range(20)))
    assert bench.written().get("a") == "hi"


def test_a_silence_is_told_once_and_again_after_the_next_reply() -> None:
    silence = Silence(None, 0)
    tally = Tally(lines=None)
    tally.open = 1
    assert [silence.look(tally, now_s) for now_s in (10, 29, 31, 90)] == [False, False, True, False]
    tally.answered = 1
    assert [silence.look(tally, now_s) for now_s in (91, 120, 122)] == [False, False, True]
    tally.open = 0
    assert [silence.look(tally, now_s) for now_s in (500, 900)] == [False, False]


def test_a_silence_that_is_too_long_ends_the_run() -> None:
    silence = Silence(5, 0)
    tally = Tally(lines=None)
    tally.open = 3
    assert not silence.look(tally, 4)
    with pytest.raises(NothingComesBack, match="3 jobs are open"):
        silence.look(tally, 6)
