"""From an outcome to the rows that put it on record. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from broker.audit.entry import audit_entry, reason_of
from broker.store.keys import AttemptKey, RunKey
from broker.store.positions import Place
from schemas.outcomes import TERMINAL_KINDS, Dead, Outcome
from schemas.state import Charge, State
from schemas.topics import Coordinate


@dataclass(slots=True, eq=False)
class Settlement:
    """One verified record of `outcomes.*`. `value_sha256`: the value's digest. Not frozen, for there is one a
    job and a frozen one takes three times as long to make; nobody changes it.

    Raises ValueError where the state has no outcome.
    """

    state: State
    coordinate: Coordinate
    value_sha256: str
    at_ms: int
    key: RunKey = field(init=False)
    place: Place = field(init=False)
    outcome: Outcome = field(init=False)
    is_final: bool = field(init=False)
    """Whether it may end its run: repeats and conflicts do not."""

    def __post_init__(self) -> None:
        state, coordinate, outcome = self.state, self.coordinate, self.state.outcome
        if outcome is None:
            raise ValueError(f"no outcome at {coordinate}")
        self.key = RunKey(state.application_id, state.job_id, state.run)
        self.place = Place(coordinate.topic, coordinate.partition)
        self.outcome = outcome
        self.is_final = outcome.kind in TERMINAL_KINDS


@dataclass(slots=True)
class Terminal:
    """How a run ended. `outcome` is the coordinate whose value is the reply, `value_sha256` its digest. Not
    frozen, as `Settlement`.
    """

    application_id: int
    job_id: UUID
    run: int
    kind: str
    reason: str | None
    outcome: str
    value_sha256: str
    attempts: int
    nanodollars: int
    at_ms: int

    @property
    def key(self) -> RunKey:
        return RunKey(self.application_id, self.job_id, self.run)

    @property
    def coordinate(self) -> Coordinate:
        return Coordinate.parse(self.outcome)


def terminal_row(settlement: Settlement) -> Terminal:
    state, outcome = settlement.state, settlement.outcome
    return Terminal(
        application_id=state.application_id,
        job_id=state.job_id,
        run=state.run,
        kind=outcome.kind,
        reason=reason_of(outcome),
        outcome=str(settlement.coordinate),
        value_sha256=settlement.value_sha256,
        attempts=len(state.charges),
        nanodollars=sum(charge.nanodollars for charge in state.charges),
        at_ms=settlement.at_ms,
    )


def charge_keys(settlement: Settlement) -> Iterator[AttemptKey]:
    for charge in settlement.state.charges:
        yield AttemptKey(*settlement.key, charge.attempt)


def charge_rows(settlement: Settlement) -> Iterator[Mapping[str, Any]]:
    for charge in settlement.state.charges:
        yield _charge_row(settlement.state, charge, settlement.at_ms)


def _charge_row(state: State, charge: Charge, at_ms: int) -> Mapping[str, Any]:
    hold, usage, tags = charge.hold, charge.usage, state.tags
    return {
        "application_id": state.application_id,
        "job_id": state.job_id,
        "run": state.run,
        "attempt": charge.attempt,
        "organization_id": state.organization_id,
        "project_id": state.project_id,
        "key_id": state.key_id,
        "model": state.model or "",
        "target": charge.target,
        "lane": state.lane.value,
        "verdict": charge.verdict,
        "reason": charge.reason,
        "hold_id": hold.id,
        "hold_nanodollars": hold.nanodollars,
        "nanodollars": charge.nanodollars,
        "estimated": charge.estimated,
        "input_tokens": usage and usage.input_tokens,
        "cached_input_tokens": usage and usage.cached_input_tokens,
        "cache_write_tokens": usage and usage.cache_write_tokens,
        "output_tokens": usage and usage.output_tokens,
        "reasoning_tokens": usage and usage.reasoning_tokens,
        "service_tier": usage and usage.service_tier,
        "tokens": charge.tokens,
        "price_version": charge.price_version,
        "day": hold.day,
        "month": hold.month,
        "minute": hold.minute,
        "latency_ms": charge.latency_ms,
        "department": tags.department,
        "feature": tags.feature,
        "user": tags.user,
        "at_ms": at_ms,
    }


def dead_letter_row(settlement: Settlement, dead: Dead) -> Mapping[str, Any]:
    return {
        **settlement.key._asdict(),
        "coordinate": dead.dead_letter,
        "reason": dead.reason.value,
        "at_ms": settlement.at_ms,
    }


def waiter_row(settlement: Settlement, reply_to: str) -> Mapping[str, Any]:
    return {**settlement.key._asdict(), "reply_to": reply_to, "at_ms": settlement.at_ms}


def entry(settlement: Settlement, *, is_terminal: bool) -> Mapping[str, Any]:
    return audit_entry(
        settlement.state,
        settlement.outcome,
        coordinate=str(settlement.coordinate),
        reply_sha256=settlement.value_sha256,
        at_ms=settlement.at_ms,
        terminal=is_terminal,
    )
