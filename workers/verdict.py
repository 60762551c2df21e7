"""What an attempt's end means for its job. Pure: the provider's result in, the next step out."""

from typing import NamedTuple

from schemas.reasons import Failure
from schemas.state import Charge, State
from schemas.topics import RetryDelay

_FREE = frozenset(
    {
        Failure.HOLD_LAPSED,
        Failure.CONNECT_FAILED,
        Failure.RATE_LIMITED,
        Failure.DEADLINE_PASSED,
        Failure.CANCELLED,
    }
)
"""The provider was never asked, or was away, or had no room: the job waits for it until its deadline."""
_UNPAID_KEPT = 20
"""Charges of nothing that travel on; the ledger has all verdicts."""


class Again(NamedTuple):
    """Another attempt, not before `due_ms`, by way of `delay`."""

    state: State
    delay: RetryDelay | None
    """None: at once, straight to RESERVE."""


class GiveUp(NamedTuple):
    """Attempts are used up, or another is of no use: a dead letter, then its outcome."""

    state: State
    reason: Failure


class Late(NamedTuple):
    """The next attempt could only start past the deadline."""

    state: State


class TooSlow(NamedTuple):
    """The next attempt could start before the deadline, but by present latencies not end before it."""

    state: State


class Unresolved(NamedTuple):
    """An at-most-once job whose call may have been answered."""

    state: State
    reason: Failure


class CalledOff(NamedTuple):
    """Its application does not want it any more."""

    state: State


Step = Again | GiveUp | Late | TooSlow | Unresolved | CalledOff


def after_failure(
    state: State, charge: Charge, failure: Failure, *, unknown: bool, due_ms: int | None, now_ms: int
) -> Step:
    """`unknown`: the provider may have done the work. `due_ms`: when the next attempt may start; None where
    one that starts then is not expected to end in time.
    """
    over = state.model_copy(
        update={
            "charges": _kept((*state.charges, charge)),
            "failures": _counted(state.failures, failure),
            "hold": None,
            "due_ms": due_ms,
        }
    )
    if failure is Failure.CANCELLED:
        return CalledOff(over)
    if unknown and state.retry.at_most_once:
        return Unresolved(over, failure)
    if failure is Failure.INTERNAL_ERROR or _are_used_up(over, failure):
        return GiveUp(over, failure)
    if due_ms is None:
        return TooSlow(over)
    if due_ms >= state.deadline_ms:
        return Late(over)
    wait_ms = due_ms - now_ms
    return Again(
        over.model_copy(update={"attempt": state.attempt + 1}), tier(wait_ms) if wait_ms > 0 else None
    )


def _kept(charges: tuple[Charge, ...]) -> tuple[Charge, ...]:
    """All that cost something, and the last of those that did not: a job may wait through many."""
    unpaid = [charge.attempt for charge in charges if not charge.nanodollars][:-_UNPAID_KEPT]
    return tuple(charge for charge in charges if charge.attempt not in unpaid)


def _counted(failures: tuple[Failure, ...], failure: Failure) -> tuple[Failure, ...]:
    """Those that count, all of them; of the others the last."""
    return (*(kept for kept in failures if kept not in _FREE), failure)


def _are_used_up(state: State, last: Failure) -> bool:
    counting = sum(failure not in _FREE for failure in state.failures)
    return last not in _FREE and counting >= state.retry.attempts_max


def tier(wait_ms: int) -> RetryDelay:
    """The shortest tier that covers the wait; the longest for anything beyond."""
    return next((delay for delay in RetryDelay if wait_ms <= delay.ms), RetryDelay.TEN_MINUTES)


def backoff_ms(attempt: int, base_ms: int, max_ms: int, retry_after_ms: int | None, jitter: float) -> int:
    """Exponential from `base_ms`, with jitter (0 to 1) over the upper half; never sooner than Retry-After.

    `attempt` counts from 1. A Retry-After beyond `max_ms` is taken as `max_ms`.
    """
    ceiling = min(max_ms, base_ms << min(attempt - 1, 30))
    wait = ceiling // 2 + int(ceiling / 2 * jitter)
    return max(wait, min(retry_after_ms or 0, max_ms))
