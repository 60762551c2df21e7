"""Rows and states with something in every field, so that a test names only what it is about."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

from broker.plugins.contract import Flag, Mark
from broker.store.attempts import AttemptRow, VerdictRow
from broker.store.dispositions import Settled
from broker.store.flags import FlagRow
from broker.store.jobs import JobRow
from broker.store.parking import ParkedRow
from broker.store.settlement import Advance, Settlements
from broker.store.settlement_rows import Settlement
from schemas.envelope import Tags
from schemas.outcomes import Answered, Outcome
from schemas.state import Charge, Decision, Hold, State, Usage
from schemas.topics import Coordinate, Lane

HOLD = Hold(
    id="c0" * 16, nanodollars=9_000, input_tokens=100, output_tokens=50, day=20_000, minute=28_800_000
)
ANSWERED = Answered(model="gpt-4o", request_sha256="aa" * 32, response_sha256="bb" * 32)
OUTCOMES = "outcomes.standard"


def job(**fields: Any) -> JobRow:
    known: dict[str, Any] = {
        "application_id": 1,
        "job_id": uuid4(),
        "value_sha256": "11" * 32,
        "origin": "jobs.standard/0/7",
        "lane": "standard",
        "project_id": 3,
        "appended_ms": 1_700_000_000_000,
        "deadline_ms": 1_700_000_060_000,
    }
    return JobRow(**known | fields)


def intent(**fields: Any) -> AttemptRow:
    known: dict[str, Any] = {
        "application_id": 1,
        "job_id": uuid4(),
        "run": 1,
        "attempt": 1,
        "owner": "0" * 32,
        "project_id": 3,
        "key_id": "key-1",
        "target": "openai",
        "model": "gpt-4o",
        "hold": HOLD,
        "price_version": "2026-01",
        "started_ms": 1_700_000_000_100,
    }
    return AttemptRow(**known | fields)


def flag(**fields: Any) -> FlagRow:
    known: dict[str, Any] = {
        "application_id": 1,
        "job_id": uuid4(),
        "run": 1,
        "phase": "request",
        "detector": "names",
        "version": "headworks-names 0.1.0",
        "revision": "ef" * 32,
        "sha256": "22" * 32,
        "found": [
            Flag("INJECTION", 950, 0, ()).told,
            Flag("PERSON", 700, 2, (Mark(0, 4, 7), Mark(3, 0, 12))).told,
        ],
        "at_ms": 1_700_000_000_050,
    }
    return FlagRow(**known | fields)


def charge(attempt: int = 1, **fields: Any) -> Charge:
    known: dict[str, Any] = {
        "attempt": attempt,
        "verdict": "answered",
        "hold": HOLD,
        "nanodollars": 4_200,
        "usage": Usage(
            input_tokens=80, cached_input_tokens=10, output_tokens=20, reasoning_tokens=5, service_tier="flex"
        ),
        "price_version": "2026-01",
        "target": "openai",
        "latency_ms": 321,
    }
    return Charge(**known | fields)


def verdict(of: AttemptRow, kind: Literal["failed", "unknown"] = "failed", **fields: Any) -> VerdictRow:
    known: dict[str, Any] = {
        "reason": "timeout",
        "charge": charge(of.attempt, verdict=kind, usage=None, estimated=True),
        "due_ms": 1_700_000_005_000,
        "at_ms": 1_700_000_002_000,
    }
    return VerdictRow(*of.key, kind, **known | fields)


def state(outcome: Outcome = ANSWERED, **fields: Any) -> State:
    known: dict[str, Any] = {
        "application": "shop",
        "application_id": 1,
        "organization_id": 2,
        "project_id": 3,
        "key_id": "key-1",
        "job_id": uuid4(),
        "lane": Lane.STANDARD,
        "origin": "jobs.standard/0/7",
        "value_sha256": "11" * 32,
        "appended_ms": 1_700_000_000_000,
        "deadline_ms": 1_700_000_060_000,
        "reply_to": "replies.shop/0/own",
        "model": "gpt-4o",
        "tags": Tags(department="research", feature="summaries", user="ann"),
        "decision": Decision(id="d-1", revision="r-1", effect="allow"),
        "charges": (charge(),) if isinstance(outcome, Answered) else (),
        "outcome": outcome,
    }
    return State(**known | fields)


def parked(offset: int, **fields: Any) -> ParkedRow:
    known: dict[str, Any] = {
        "partition": 0,
        "application_id": 1,
        "job_id": uuid4(),
        "run": 1,
        "attempt": 1,
        "project_id": 3,
        "lane": "standard",
        "due_ms": 1_700_000_000_000,
        "reason": "requests_per_minute",
        "appended_ms": 1_700_000_000_000,
        "record_bytes": 300,
    }
    return ParkedRow(offset=offset, **known | fields)


def settlement(offset: int, of: State | None = None, partition: int = 0) -> Settlement:
    place = Coordinate(OUTCOMES, partition, offset)
    return Settlement(of or state(), place, f"{offset:064x}", 1_700_000_009_000)


async def settle(settlements: Settlements, *batch: Settlement) -> Sequence[Settled]:
    """As a process does that has just read the positions; one batch of any partitions."""
    ends = {item.place: item.coordinate.offset + 1 for item in batch}
    advances = [Advance(await settlements.position(*place), end) for place, end in ends.items()]
    return (await settlements.settle(batch, advances)).settled


def uuids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]
