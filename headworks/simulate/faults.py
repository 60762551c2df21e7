"""What becomes of one call: pure decisions from the behaviour, the call's own numbers and the time."""

import math
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist

from headworks.simulate.behaviour import (
    LATENCY_MS_MAX,
    Behaviour,
    CannedAnswer,
    Fault,
    FixedLatency,
    Latency,
    UniformLatency,
)

_STANDARD_NORMAL = NormalDist()
_SIGMAS_OF_P99 = _STANDARD_NORMAL.inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Dice:
    """Numbers strictly between 0 and 1 that belong to one call."""

    fault: float
    latency: float
    choice: float


def dice_of(seed: int, body_sha256: bytes, caller: str) -> Dice:
    """Rolls that depend on seed, body and `caller` alone, so that the order of arrival changes nothing."""
    digest = blake2b(f"{seed}\0{caller}\0".encode() + body_sha256, digest_size=24).digest()
    return Dice(_unit(digest[:8]), _unit(digest[8:16]), _unit(digest[16:]))


def _unit(eight_bytes: bytes) -> float:
    # 52 bits and a half: the largest is still below 1.0 as a float.
    return ((int.from_bytes(eight_bytes) >> 12) + 0.5) / 2**52


def fault_of(behaviour: Behaviour, roll: float) -> Fault | None:
    """The faults share the line from 0 to 1 by their rates; `roll` falls on one of them or on none."""
    upper = 0.0
    for fault, rate in behaviour.fault_rates():
        upper += rate
        if roll < upper:
            return fault
    return None


def latency_ms_of(latency: Latency, roll: float) -> float:
    """The quantile `roll` of the distribution; a lognormal's tail is cut at LATENCY_MS_MAX."""
    if isinstance(latency, FixedLatency):
        return latency.ms
    if isinstance(latency, UniformLatency):
        return latency.min_ms + (latency.max_ms - latency.min_ms) * roll
    sigmas = _STANDARD_NORMAL.inv_cdf(roll) / _SIGMAS_OF_P99
    return min(latency.p50_ms * math.pow(latency.p99_ms / latency.p50_ms, sigmas), LATENCY_MS_MAX)


@dataclass(frozen=True, slots=True)
class Fate:
    """What one accepted call gets, and after how long."""

    latency_ms: float
    fault: Fault | None = None
    status: int = 200
    content: str | None = None


def fate_of(behaviour: Behaviour, dice: Dice, canned: CannedAnswer | None, at_once: int = 1) -> Fate:
    """A canned answer first, else the dice. ERROR alternates between 500 and 503 by chance.

    `at_once`: calls under way, this one among them.
    """
    fault = canned.fault if canned else fault_of(behaviour, dice.fault)
    latency_ms = latency_ms_of(behaviour.latency, dice.latency)
    if behaviour.capacity is not None:
        latency_ms = min(latency_ms * max(1.0, at_once / behaviour.capacity), LATENCY_MS_MAX)
    if canned and canned.status:
        return Fate(latency_ms, None, canned.status)
    if fault is Fault.ERROR:
        return Fate(latency_ms, fault, 500 if dice.choice < 0.5 else 503)
    if fault is Fault.RATE_LIMITED:
        return Fate(latency_ms, fault, 429)
    if fault is Fault.SLOW_FIRST_BYTE:
        return Fate(latency_ms + behaviour.slow_first_byte_ms, fault)
    return Fate(latency_ms, fault, content=canned.content if canned else None)


def canned_for(
    behaviour: Behaviour, body: bytes, job_id: str | None, attempt: int | None
) -> CannedAnswer | None:
    """The first that fits. One with a job or a last attempt fits only calls that name theirs."""
    for canned in behaviour.canned:
        of_job = canned.job_id is None or canned.job_id == job_id
        in_time = canned.attempt_max is None or (attempt is not None and attempt <= canned.attempt_max)
        if of_job and in_time and canned.contains.encode() in body:
            return canned
    return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the limit says to one call; times in seconds."""

    limit: int
    remaining: int
    reset_s: float
    retry_after_s: int | None
    """None: let through. Else whole seconds, as Retry-After counts (RFC 9110, section 10.2.3)."""


class RequestLimit:
    """A leaky bucket that holds one second's worth of requests and drains `per_second` of them a second."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._size = max(1.0, per_second)
        self._level = 0.0
        self._at = -math.inf

    def take(self, now: float) -> Allowance:
        """`now` in seconds of a clock that never runs back. A refused call takes nothing."""
        self._level = max(0.0, self._level - (now - self._at) * self.per_second)
        self._at = now
        over = self._level + 1 - self._size
        refused = over > 1e-9
        if not refused:
            self._level += 1
        return Allowance(
            limit=int(self._size),
            remaining=max(0, int(self._size - self._level + 1e-9)),
            reset_s=self._level / self.per_second,
            retry_after_s=max(1, math.ceil(over / self.per_second)) if refused else None,
        )
