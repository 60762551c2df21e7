"""Policy from ADMIT to the reply, with everything outside in memory: refused, rewritten, and put back."""

import asyncio
import hashlib
from itertools import count
from typing import Any

import orjson
import pytest

from broker.policy.decide import Job
from broker.policy.judge import Judge
from broker.policy.tokens import put_back, unseal
from broker.records import Inner
from broker.telemetry.metrics import Metrics
from schemas import headers
from schemas.outcomes import Refused
from schemas.reasons import Refusal
from schemas.state import State
from schemas.topics import Coordinate
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.workers.door import Door, Rules, asking
from tests.unit.workers.memory import (
    received,
)
from tests.unit.workers.signing import signed
from workers import admit

MAIL = "joe.doe@example.com"


class Slow:
    """Takes 10 ms a job, by the clock that ADMIT is given. `turns`: those of the event loop, at each job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[int] = []
        self._ms = self._turn = 0
        monkeypatch.setattr(admit, "monotonic", lambda: self._ms / 1000)

    def judge(self, job: Job) -> None:
        self.turns.append(self._turn)
        self._ms += 10

    async def count(self) -> None:
        for self._turn in count(1):
            await asyncio.sleep(0)


def under(*rules: dict[str, Any], **sections: Any) -> Door:
    return Door(Rules(Judge(revision(*rules, **sections))))


async def passed(door: Door, content: str) -> Inner:
    """What ADMIT makes of one job."""
    await door.admit.handle([signed(asking(content))])
    [record] = door.producer.sent
    return door.tools.sealer.open(received(record))


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"headworks_{name}_total", labels) or 0


def content(of: Inner) -> str:
    return str(orjson.loads(of.value)["request"]["messages"][0]["content"])


async def test_a_job_that_is_denied_is_refused_with_the_decision_and_the_rule_on_record() -> None:
    door = under(rule("no-mini", "request.model == 'gpt-4o-mini'"))
    inner = await passed(door, "Name a canal.")
    assert inner.state.outcome == Refused(reason=Refusal.POLICY_DENIED, stage="admit")
    decision = inner.state.decision
    assert decision is not None
    assert (decision.effect, decision.rules) == ("deny", ("no-mini",))
    assert orjson.loads(inner.value)["error"] == {
        "code": "policy_denied",
        "message": f"decision {decision.id}, rule no-mini",
    }
    assert counted(door.tools.metrics, "policy_decisions", effect="deny") == 1
    assert counted(door.tools.metrics, "jobs", stage="admit", outcome="policy_denied") == 1


async def test_what_is_flagged_passes_as_it_came_with_its_decision() -> None:
    door = under(rule("seen", effect="flag", contribution=7))
    inner = await passed(door, "Name a canal.")
    assert inner.value == asking("Name a canal.")
    decision = inner.state.decision
    assert decision is not None
    assert (decision.effect, decision.rules, decision.score) == ("flag", ("seen",), 7)


async def test_what_is_redacted_goes_on_without_it_and_is_known_by_what_was_sent() -> None:
    door = under(dlp={"request": {"EMAIL": "redact"}})
    inner = await passed(door, f"Write to {MAIL}.")
    assert content(inner) == "Write to [EMAIL_1]."
    assert MAIL.encode() not in b"".join(part or b"" for _, part in door.producer.sent[0].headers)
    assert (inner.tokens, inner.state.tokens_sha256) == (None, None)
    original = hashlib.sha256(asking(f"Write to {MAIL}.")).hexdigest()
    assert inner.state.value_sha256 == door.registered[0].value_sha256 == original
    assert inner.sha256 == hashlib.sha256(inner.value).digest()


async def test_detectors_are_shown_what_goes_on_and_nothing_else() -> None:
    door = under(dlp={"request": {"EMAIL": "redact"}})
    shown: list[tuple[State, bytes]] = []
    door.admit.show = lambda state, value: shown.append((state, value))
    inner = await passed(door, f"Write to {MAIL}.")
    assert shown == [(inner.state, inner.value)]
    assert MAIL.encode() not in inner.value
    denies = under(rule("no"))
    denies.admit.show = door.admit.show
    await passed(denies, "Name a canal.")
    assert len(shown) == 1


async def test_tokens_travel_beside_the_job_through_every_stage_and_come_back() -> None:
    door = under(dlp={"request": {"EMAIL": "tokenize"}})
    inner = await passed(door, f"Write to {MAIL}.")
    assert content(inner) == "Write to [EMAIL_1]."
    outlets, sealer = door.tools.outlets, door.tools.sealer
    onward = outlets.onward("reserved.standard", inner, inner.state.model_copy(update={"attempt": 2}))
    assert MAIL.encode() not in b"".join(part or b"" for _, part in onward.headers)
    there = sealer.open(received(onward))
    mapping = unseal(sealer.token_key, there.state, there.tokens)
    assert put_back(b'{"text":"To [EMAIL_1]"}', mapping) == f'{{"text":"To {MAIL}"}}'.encode()
    letter = outlets.dead_job(there, "dispatch", "timeout", Coordinate("reserved.standard", 0, 1))
    assert sealer.open(received(letter)).tokens == inner.tokens


async def test_an_outcome_carries_no_tokens() -> None:
    door = under(dlp={"request": {"EMAIL": "tokenize"}})
    inner = await passed(door, MAIL)
    outcome = door.tools.outlets.expired(inner.state, "reserve")
    assert headers.TOKENS not in dict(outcome.headers)
    assert door.tools.sealer.open(received(outcome)).state.tokens_sha256 is None


async def test_more_than_a_job_can_carry_is_refused_by_a_reason_of_its_own() -> None:
    door = under(dlp={"request": {"EMAIL": "tokenize"}})
    mails = (hashlib.sha256(str(n).encode()).hexdigest()[:40] + "@example.com" for n in range(3_000))
    inner = await passed(door, " ".join(mails))
    assert inner.state.outcome == Refused(reason=Refusal.POLICY_TOKENS_TOO_LARGE, stage="admit")
    assert b"@example.com" not in inner.value


async def test_a_candidate_is_counted_and_not_followed() -> None:
    live, candidate = (Judge(revision(rule(effect, effect=effect))) for effect in ("flag", "deny"))
    door = Door(Rules(live, candidate))
    inner = await passed(door, "Name a canal.")
    assert inner.state.outcome is None
    labels = {"live": "flag", "candidate": "deny", "same": "no"}
    assert counted(door.tools.metrics, "policy_shadow", **labels) == 1


async def test_between_jobs_that_take_long_the_loop_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    counting = asyncio.create_task(slow.count())
    await Door(slow).admit.handle([signed(asking("Name a canal.")) for _ in range(4)])
    counting.cancel()
    assert len(set(slow.turns)) == 4
