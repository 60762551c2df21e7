"""How far a named instance has handed its replies over: the position that its next life starts from."""

from collections import OrderedDict
from uuid import UUID

_REMEMBERED_MAX = 65_536


class Handover:
    """Offsets in, one offset out. Every reply below `position` was handed over.

    The client reads live from `end`, where its life began. What an earlier life left, from `committed` on,
    and what arrives that nobody awaits is owed, until `missed` has handed it over.
    """

    def __init__(self, committed: int | None, end: int) -> None:
        self._owed_from = committed if committed is not None and committed < end else None
        self._live = end
        self._held: dict[UUID, int] = {}
        self._handed: OrderedDict[tuple[UUID, int], None] = OrderedDict()

    @property
    def owed_from(self) -> int | None:
        """Where `missed` goes on, or None where nothing is owed."""
        return self._owed_from

    @property
    def position(self) -> int:
        held = next(iter(self._held.values()), self._live)
        return held if self._owed_from is None else min(held, self._owed_from)

    def arrived(self, job_id: UUID, offset: int) -> None:
        """For an open job; handed over later."""
        self._held[job_id] = offset

    def unclaimed(self, offset: int) -> None:
        if self._owed_from is None:
            self._owed_from = offset

    def read_up_to(self, offset: int) -> None:
        """The live reader has passed everything below."""
        self._live = offset

    def handed(self, job_id: UUID, run: int) -> None:
        self._held.pop(job_id, None)
        self._handed[job_id, run] = None
        if len(self._handed) > _REMEMBERED_MAX:
            self._handed.popitem(last=False)

    def was_handed(self, job_id: UUID, run: int) -> bool:
        """In this life, among the last 65,536."""
        return (job_id, run) in self._handed

    def caught_up_to(self, offset: int) -> bool:
        """`missed` has handed over everything below; whether it has reached the live reader."""
        done = offset >= self._live
        self._owed_from = None if done else offset
        return done
