"""A job that policy keeps to some regions ends where no target lies in them, before anything is sent."""

import orjson

from broker.policy.judge import Judge
from broker.settings import ProviderTarget, Settings
from schemas import topics
from schemas.outcomes import Refused
from schemas.reasons import Refusal
from schemas.state import Decision, State
from schemas.topics import Lane
from tests.unit.broker.policy.jobs import revision, rule
from tests.unit.workers.dispatching import Bench
from tests.unit.workers.door import JOB_VALUE, Door, Rules
from tests.unit.workers.memory import received
from tests.unit.workers.signing import signed

EUROPE = rule("europe", effect="flag", regions=["eu"])
OUTSIDE = Refused(reason=Refusal.NO_TARGET_IN_REGION, stage="admit")


def target(region: str | None) -> ProviderTarget:
    return ProviderTarget(base_url="http://x/v1", models=["gpt-4o-mini"], region=region)


async def admitted(**targets: str | None) -> tuple[str, State, bytes]:
    """Where ADMIT sends a job that is to stay in Europe, by the regions of its targets."""
    settings = Settings(providers={name: target(region) for name, region in targets.items()})
    door = Door(Rules(Judge(revision(EUROPE))), settings=settings)
    await door.admit.handle([signed(JOB_VALUE)])
    [sent] = door.producer.sent
    inner = door.tools.sealer.open(received(sent))
    return sent.topic, inner.state, inner.value


async def test_admit_refuses_what_no_target_may_serve_with_the_decision_on_record() -> None:
    topic, state, reply = await admitted(here="us", unlabelled=None)
    assert (topic, state.outcome) == (topics.outcomes(Lane.STANDARD), OUTSIDE)
    assert state.decision is not None
    assert (state.decision.effect, state.decision.regions) == ("flag", ("eu",))
    assert orjson.loads(reply)["error"]["code"] == "no_target_in_region"


async def test_admit_seals_the_regions_for_dispatch() -> None:
    for targets in ({"here": "us", "there": "eu"}, {}):
        topic, state, _ = await admitted(**targets)
        assert topic == topics.admitted(Lane.STANDARD)
        assert state.decision is not None
        assert state.decision.regions == ("eu",)


async def test_dispatch_calls_no_target_outside() -> None:
    """Those of the bench lie in no region."""
    bench = Bench(decision=Decision(id="d", revision="r", effect="flag", regions=("eu",)))
    await bench.handle()
    assert bench.provider.calls == []
    assert bench.last.outcome == Refused(reason=Refusal.NO_TARGET_IN_REGION, stage="dispatch")
