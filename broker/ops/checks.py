"""What a check of an installation says, and the two ways in which one is made."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from broker.errors import HeadworksError

CLOCK_DIFFERENCE_MS_MAX = 2_000
"""Between this host and a server. Deadlines and freshness bear it; a clock that is kept differs less."""


class Check(NamedTuple):
    """One line of `headworks doctor`."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None
    """What to do about it: a command to run, or a setting to change."""
    code: str | None = None
    """Of the error, where it failed (`broker.errors`)."""

    @classmethod
    def passed(cls, name: str, detail: str) -> Self:
        return cls(name, ok=True, detail=detail)

    @classmethod
    def failed(cls, name: str, error: HeadworksError, fix: str) -> Self:
        return cls(name, ok=False, detail=str(error), fix=fix, code=error.code)


async def attempt(name: str, fix: str, probe: Callable[[], Awaitable[str]]) -> Check:
    """The probe tells a detail, or raises what is wrong."""
    try:
        return Check.passed(name, await probe())
    except HeadworksError as error:
        return Check.failed(name, error, fix)


def compare_clocks(name: str, sent_ms: int, theirs_ms: int, received_ms: int) -> Check:
    """`theirs_ms` was read at some time between the other two, which are this host's: clocks that agree give
    a time between them, and what lies outside is the least by which they differ.
    """
    ahead_ms = max(theirs_ms - received_ms, 0) - max(sent_ms - theirs_ms, 0)
    if abs(ahead_ms) <= CLOCK_DIFFERENCE_MS_MAX:
        return Check.passed(name, f"within {abs(ahead_ms) + received_ms - sent_ms} ms of this host's")
    side = "ahead of" if ahead_ms > 0 else "behind"
    return Check(
        name,
        ok=False,
        detail=f"{abs(ahead_ms) / 1000:.1f} s {side} this host's",
        fix="keep both clocks by NTP: `timedatectl set-ntp true`, or chrony",
        code="clock_wrong",
    )
