"""Where records go when a stage is done with them: the one door to `outcomes`, and the one to `dead`."""

import time
from collections.abc import Callable

from broker.records import Incoming, Inner, Outgoing, Sealer
from broker.replies import answer, failure
from schemas import headers, topics
from schemas.dead_letter import DeadLetter
from schemas.outcomes import Answered, Cancelled, Expired, Outcome, Refused, StageName
from schemas.reasons import Refusal, Unauthentic
from schemas.reply import Status
from schemas.state import State
from schemas.topics import Coordinate

Clock = Callable[[], int]
"""Milliseconds since the Unix epoch."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def coordinate(record: Incoming) -> Coordinate:
    return Coordinate(record.topic, record.partition, record.offset)


class Outlets:
    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    def outcome(self, state: State, outcome: Outcome, reply: bytes) -> Outgoing:
        """Without what was for the call alone, or a hold that a charge has: less to seal and to open."""
        ended = state.model_copy(
            update={
                "outcome": outcome,
                "tokens_sha256": None,
                "overrides": {},
                "estimate": None,
                "hold": None if _is_charged(state) else state.hold,
            }
        )
        return self._sealer.seal(topics.outcomes(state.lane), ended, reply, by_key=True)

    def answered(self, state: State, outcome: Answered, body: bytes, status_code: int) -> Outgoing:
        return self.outcome(state, outcome, answer(state, body, status_code, outcome.model, spent(state)))

    def withheld(self, state: State, outcome: Refused, message: str) -> Outgoing:
        reply = failure(state, "refused", outcome.reason.value, message, nanodollars=spent(state))
        return self.outcome(state, outcome, reply)

    def refused(
        self,
        state: State,
        stage: StageName,
        reason: Refusal,
        message: str | None = None,
        param: str | None = None,
        status_code: int | None = None,
    ) -> Outgoing:
        reply = failure(
            state, "refused", reason.value, message, param, status_code=status_code, nanodollars=spent(state)
        )
        return self.outcome(state, Refused(reason=reason, stage=stage), reply)

    def expired(self, state: State, stage: StageName) -> Outgoing:
        reply = failure(state, "expired", "expired", nanodollars=spent(state))
        return self.outcome(state, Expired(stage=stage), reply)

    def cancelled(self, state: State, stage: StageName) -> Outgoing:
        reply = failure(state, "cancelled", "cancelled", nanodollars=spent(state))
        return self.outcome(state, Cancelled(stage=stage), reply)

    def failed(self, state: State, outcome: Outcome, status: Status, code: str, dead: str | None) -> Outgoing:
        reply = failure(state, status, code, nanodollars=spent(state), dead_letter=dead)
        return self.outcome(state, outcome, reply)

    def onward(self, topic: str, inner: Inner, state: State) -> Outgoing:
        """The same value under a new state."""
        return self._sealer.seal(topic, state, inner.value, inner.sha256, tokens=inner.tokens)

    def dead_job(self, inner: Inner, stage: StageName, reason: str, origin: Coordinate) -> Outgoing:
        """A job whose attempts are used up, sealed with its state."""
        note = self._note(stage, reason, origin)
        return self._sealer.seal(
            topics.DEAD, inner.state, inner.value, inner.sha256, tokens=inner.tokens, extra=[note]
        )

    def dead_record(
        self, record: Incoming, stage: StageName, reason: str, detail: str | None = None
    ) -> Outgoing:
        """A record that is no job of ours: its bytes as they came, unsealed."""
        note = self._note(stage, reason, coordinate(record), detail)
        carried = [(name, content or b"") for name, content in record.headers[: headers.HEADERS_MAX]]
        kept = [pair for pair in carried if pair[0] not in (headers.STATE, headers.SEAL, note[0])]
        return Outgoing(topics.DEAD, record.key, record.value or b"", [*kept, note])

    def unreadable(self, origin: Coordinate, stage: StageName, error: str, raw: bytes) -> Outgoing:
        """A record that could not be decoded: its bytes in the log, as far as they can be told."""
        note = self._note(stage, Unauthentic.UNDECODABLE.value, origin, error)
        return Outgoing(topics.DEAD, None, raw, [note])

    def _note(
        self, stage: StageName, reason: str, origin: Coordinate, detail: str | None = None
    ) -> tuple[str, bytes]:
        letter = DeadLetter(
            stage=stage, reason=reason, origin=str(origin), at_ms=self._clock(), detail=detail
        )
        return headers.DEAD_LETTER, letter.model_dump_json(exclude_none=True).encode()


def spent(state: State) -> int:
    """Nano-dollars of all attempts so far."""
    return sum(charge.nanodollars for charge in state.charges)


def _is_charged(state: State) -> bool:
    hold = state.hold
    return hold is not None and any(charge.hold.id == hold.id for charge in state.charges)
