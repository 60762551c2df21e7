"""Workers follow what operators activate; what cannot be compiled here takes nothing away."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from broker.errors import ConfigurationError, Conflict, DatabaseUnavailable, DirectoryBehind
from broker.policy import following as following_module
from broker.policy.decide import NOT_COMPILED, Judgement, PolicyDenied
from broker.policy.following import ALARM, PAST_MAX, Following
from broker.policy.judge import Judge
from broker.policy.policy_set import Activation, Kind
from broker.policy.revision import PolicyRevision
from broker.store.policies import Policies
from broker.telemetry.events import Event
from broker.telemetry.metrics import Metrics
from schemas.reasons import Refusal
from tests.unit.broker.policy.answers.judging import answered, chat
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.broker.policy.test_judge import job

DEADLINE_S = 10
DENY, FLAG = revision(rule("deny")), revision(rule("flag", effect="flag"))
BROKEN = "b" * 64
ON_ANSWERS = [revision(answer={"chars_max": chars}) for chars in range(1, PAST_MAX + 3)]


class Events:
    """Takes the place of the module's logger, and signals each event."""

    def __init__(self) -> None:
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Event()

    def _note(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))
        self._came.set()

    debug = info = error = _note

    async def until(self, event: Event, times: int = 1) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while sum(name == event for name, _ in self.logged) < times:
                self._came.clear()
                await self._came.wait()


class Memory:
    """The tables and the directory's revision; `away`: the tables cannot be read, until `asked` tells so."""

    def __init__(self) -> None:
        self.revision = 0
        self.away = False
        self.asked = asyncio.Event()
        self.read: list[str] = []
        """Ids of texts that were asked for."""
        self._acts: list[Activation] = []
        kept = (DENY, FLAG, *ON_ANSWERS)
        self._texts = {each.id: each.text for each in kept} | {BROKEN: "version: 1\nrules: no"}

    def act(self, kind: Kind, id_: str | None, project_id: int | None = None) -> None:
        self._acts.append(Activation(len(self._acts) + 1, project_id, kind, id_, 0))
        self.revision += 1

    async def beyond(self, number: int) -> list[Activation]:
        if self.away:
            self.asked.set()
            raise DatabaseUnavailable("away")
        return self._acts[number:]

    async def texts(self, ids: Collection[str]) -> dict[str, str]:
        if self.away:
            raise DatabaseUnavailable("away")
        self.read += ids
        return {id_: self._texts[id_] for id_ in ids if id_ in self._texts}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    found = Events()
    monkeypatch.setattr(following_module, "_log", found)
    return found


def alarms(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("headworks_alarms_total", {"code": ALARM}) or 0


@asynccontextmanager
async def following(memory: Memory, metrics: Metrics | None = None) -> AsyncIterator[Following]:
    async with Following(cast(Policies, memory), memory, 5, metrics or Metrics()) as found:
        yield found


def effect(found: Judgement | None) -> str | None:
    return None if found is None else found.decision.effect


def reason(found: Judgement | None) -> str | None:
    return None if found is None else found.rule


async def test_where_nothing_is_active_nothing_is_decided() -> None:
    async with following(Memory()) as found:
        assert found.judge(job()) is None


def test_where_nothing_is_active_neither_rules_nor_detectors_are_imported() -> None:
    told = "import sys, workers.app; print([name for name in sys.modules if name in ('cel', 're2', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_what_is_active_at_the_start_decides_the_first_job() -> None:
    memory = Memory()
    memory.act("activate", DENY.id)
    memory.act("activate", FLAG.id, project_id=3)
    async with following(memory) as found:
        assert effect(found.judge(job())) == "flag"
        assert effect(found.judge(job()._replace(project_id=4))) == "deny"


async def test_what_is_activated_later_is_followed_and_so_is_what_is_taken_back(events: Events) -> None:
    memory = Memory()
    async with following(memory) as found:
        memory.act("activate", FLAG.id)
        await events.until(Event.POLICY_ADOPTED, 1)
        assert effect(found.judge(job())) == "flag"
        memory.act("activate", DENY.id, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 2)
        assert effect(found.judge(job())) == "deny"
        memory.act("rollback", None, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 3)
        assert effect(found.judge(job())) == "flag"


async def test_a_candidate_is_asked_beside_the_live_one(events: Events) -> None:
    memory = Memory()
    memory.act("activate", FLAG.id)
    async with following(memory) as found:
        memory.act("shadow", DENY.id)
        await events.until(Event.POLICY_ADOPTED, 2)
        judgement = found.judge(job())
        assert judgement is not None
        assert judgement.decision.effect == "flag"
        assert judgement.comparison == ("flag", "deny", False)


async def test_one_that_cannot_be_compiled_leaves_the_last_good_one_and_an_alarm(events: Events) -> None:
    memory, metrics = Memory(), Metrics()
    memory.act("activate", DENY.id)
    async with following(memory, metrics) as found:
        memory.act("activate", BROKEN)
        memory.act("activate", BROKEN, project_id=4)
        await events.until(Event.POLICY_NOT_COMPILED)
        await events.until(Event.POLICY_ADOPTED, 2)
        assert reason(found.judge(job())) == "deny"
        assert reason(found.judge(job()._replace(project_id=4))) == NOT_COMPILED
        assert alarms(metrics) == 1
        assert (Event.POLICY_NOT_COMPILED, {"code": "policy_invalid", "revision": BROKEN}) in events.logged
        memory.act("activate", FLAG.id)
        await events.until(Event.POLICY_ADOPTED, 3)
        assert effect(found.judge(job())) == "flag"


async def test_a_project_keeps_its_own_last_good_one_whatever_becomes_of_the_default(events: Events) -> None:
    memory = Memory()
    memory.act("activate", DENY.id)
    memory.act("activate", FLAG.id, project_id=3)
    async with following(memory) as found:
        memory.act("activate", BROKEN, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 2)
        assert effect(found.judge(job())) == "flag"
        memory.act("activate", FLAG.id)
        memory.act("activate", DENY.id)
        await events.until(Event.POLICY_ADOPTED, 3)
        assert effect(found.judge(job())) == "flag"


async def test_a_project_whose_first_own_one_cannot_be_compiled_is_denied_and_nobody_else(
    events: Events,
) -> None:
    """Whatever the default would have let pass: the project was given another."""
    memory = Memory()
    memory.act("activate", FLAG.id)
    async with following(memory) as found:
        memory.act("activate", BROKEN, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 2)
        judgement = found.judge(job())
        assert judgement is not None
        assert judgement == found.judge(job()), "the same job is decided the same way"
        assert (judgement.decision.effect, judgement.decision.revision) == ("deny", BROKEN)
        assert (judgement.rule, judgement.decision.rules) == (NOT_COMPILED, (NOT_COMPILED,))
        refused = PolicyDenied(judgement)
        assert (refused.reason, refused.message) == (
            Refusal.POLICY_ERROR,
            f"decision {judgement.decision.id}, rule policy_not_compiled",
        )
        assert effect(found.judge(job()._replace(project_id=4))) == "flag"
        memory.act("activate", DENY.id)
        memory.act("rollback", None, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 3)
        assert (effect(found.judge(job())), reason(found.judge(job()))) == ("deny", "deny")


async def test_where_no_default_was_ever_good_jobs_wait(events: Events) -> None:
    memory = Memory()
    async with following(memory) as found:
        memory.act("activate", BROKEN, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 1)
        assert found.judge(job()._replace(project_id=4)) is None
        assert reason(found.judge(job())) == NOT_COMPILED
        memory.act("activate", FLAG.id, project_id=3)
        await events.until(Event.POLICY_ADOPTED, 2)
        assert effect(found.judge(job())) == "flag"
        memory.act("activate", BROKEN)
        await events.until(Event.POLICY_ADOPTED, 3)
        assert effect(found.judge(job())) == "flag"
        with pytest.raises(DirectoryBehind, match=rf"policy {BROKEN} cannot be compiled here") as caught:
            found.judge(job()._replace(project_id=4))
        assert caught.value.retryable


async def test_a_worker_does_not_start_with_an_active_revision_that_it_cannot_compile() -> None:
    memory = Memory()
    memory.act("activate", BROKEN)
    with pytest.raises(ConfigurationError, match=rf"policy {BROKEN} cannot be compiled here: line 2"):
        async with following(memory):
            pass


async def test_a_candidate_that_cannot_be_compiled_keeps_no_worker_from_starting(events: Events) -> None:
    memory, metrics = Memory(), Metrics()
    memory.act("activate", DENY.id)
    memory.act("shadow", BROKEN)
    async with following(memory, metrics) as found:
        judgement = found.judge(job())
        assert judgement is not None
        assert (judgement.decision.effect, judgement.comparison) == ("deny", None)
        assert alarms(metrics) == 1


async def test_while_the_database_is_away_the_last_one_decides(events: Events) -> None:
    memory = Memory()
    memory.act("activate", FLAG.id)
    async with following(memory) as found:
        memory.away = True
        memory.act("activate", DENY.id)
        async with asyncio.timeout(DEADLINE_S):
            await memory.asked.wait()
        assert effect(found.judge(job())) == "flag"
        memory.away = False
        await events.until(Event.POLICY_ADOPTED, 2)
        assert effect(found.judge(job())) == "deny"


async def test_a_following_that_has_ended_is_not_believed() -> None:
    memory = Memory()
    memory.act("activate", FLAG.id)
    found = Following(cast(Policies, memory), memory, 5, Metrics())
    await found.__aenter__()
    memory.act("rollback", None)  # there is nothing to go back to
    task = found._following
    assert task is not None
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait([task])
    with pytest.raises(DirectoryBehind, match="followed no more"):
        found.judge(job())
    with pytest.raises(Conflict):
        await found.__aexit__(None, None, None)


async def test_jobs_are_decided_while_another_revision_is_compiled(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling goes on beside the event loop: it is held here until a job has been decided."""
    memory, decided = Memory(), asyncio.Event()
    memory.act("activate", FLAG.id)
    async with following(memory) as found:
        loop = asyncio.get_running_loop()
        load = PolicyRevision.load

        def held(text: str) -> PolicyRevision:
            asyncio.run_coroutine_threadsafe(decided.wait(), loop).result(DEADLINE_S)
            return load(text)

        monkeypatch.setattr(PolicyRevision, "load", held)
        memory.act("activate", DENY.id)
        assert effect(found.judge(job())) == "flag"
        decided.set()
        await events.until(Event.POLICY_ADOPTED, 2)
        assert effect(found.judge(job())) == "deny"


# answers


async def test_an_answer_is_judged_by_the_revision_that_let_its_job_pass(events: Events) -> None:
    memory = Memory()
    first, second = ON_ANSWERS[:2]
    memory.act("activate", first.id)
    async with following(memory) as found:
        judgement = found.judge(job())
        assert judgement is not None
        assert (judgement.decision.revision, judgement.decision.answers) == (first.id, True)
        memory.act("activate", second.id)
        memory.act("rollback", None)
        memory.act("activate", DENY.id)
        await events.until(Event.POLICY_ADOPTED, 2)
        for each in (first, second):
            judge = await found.answers(each.id)
            assert judge is not None
            assert judge.judge(answered(chat("x" * 9))).decision.revision == each.id


async def test_a_revision_that_is_live_needs_no_database_for_its_answers() -> None:
    memory = Memory()
    memory.act("activate", ON_ANSWERS[0].id)
    async with following(memory) as found:
        memory.away = True
        assert await found.answers(ON_ANSWERS[0].id) is not None
        with pytest.raises(DatabaseUnavailable):
            await found.answers(ON_ANSWERS[1].id)
        memory.away = False
        assert await found.answers(ON_ANSWERS[1].id) is not None


async def test_many_at_once_fetch_and_compile_a_revision_once() -> None:
    memory = Memory()
    async with following(memory) as found:
        judges = await asyncio.gather(*(found.answers(ON_ANSWERS[0].id) for _ in range(20)))
    assert memory.read.count(ON_ANSWERS[0].id) == 1
    assert len(set(map(id, judges))) == 1


async def test_of_past_revisions_the_last_ones_are_kept_compiled() -> None:
    memory = Memory()
    async with following(memory) as found:
        for each in ON_ANSWERS[:PAST_MAX]:
            await found.answers(each.id)
        await found.answers(ON_ANSWERS[0].id)
        await found.answers(ON_ANSWERS[PAST_MAX].id)
        await found.answers(ON_ANSWERS[0].id)
        assert memory.read.count(ON_ANSWERS[0].id) == 1
        await found.answers(ON_ANSWERS[1].id)
        assert memory.read.count(ON_ANSWERS[1].id) == 2


async def test_a_revision_that_is_gone_or_not_about_answers_has_nobody_to_judge_them() -> None:
    async with following(Memory()) as found:
        assert await found.answers("0" * 64) is None
        assert await found.answers(FLAG.id) is None


async def test_where_a_past_revision_cannot_be_compiled_its_jobs_wait(events: Events) -> None:
    memory, metrics = Memory(), Metrics()
    async with following(memory, metrics) as found:
        for _ in range(3):
            with pytest.raises(DirectoryBehind, match=rf"policy {BROKEN} cannot be compiled here") as caught:
                await found.answers(BROKEN)
            assert caught.value.retryable
    assert (memory.read.count(BROKEN), alarms(metrics)) == (1, 1)


async def test_what_fails_for_a_while_is_compiled_when_it_is_over(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_, failures = following_module._compile, [OSError("no file just now")]

    def once(text: str) -> Judge:
        if failures:
            raise failures.pop()
        return compile_(text)

    monkeypatch.setattr(following_module, "_compile", once)
    async with following(Memory()) as found:
        with pytest.raises(DirectoryBehind):
            await found.answers(ON_ANSWERS[0].id)
        assert await found.answers(ON_ANSWERS[0].id) is not None
