"""Which offset may be committed: pure."""

from collections import deque
from collections.abc import Iterator


class Tracker:
    """The unfinished records of one partition during one assignment.

    The commit point is the oldest unfinished offset, so a commit never passes unfinished work. A closed
    tracker (its assignment is over) takes late completions and reports none of them.
    """

    __slots__ = ("_closed", "_finished", "_lent", "_next", "_open")

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._lent: dict[int, int] = {}
        self._next: int | None = None
        self._closed = False

    def register(self, offset: int) -> None:
        """Note a fetched record, before the first `await` after it was fetched.

        Raises ValueError where the offset is not above all before it.
        """
        if self._next is not None and offset < self._next:
            raise ValueError(f"offset {offset} was registered after {self._next - 1}")
        self._open.append(offset)
        self._next = offset + 1

    def is_unfinished(self, offset: int) -> bool:
        """Whether it was registered here, and is not finished. False of what an assignment before had."""
        if self._next is None or not self._open:
            return False
        return self._open[0] <= offset < self._next and offset not in self._finished

    def lend(self, offset: int) -> None:
        """Somebody else has a part in the record: it is to be finished once more."""
        self._lent[offset] = self._lent.get(offset, 0) + 1

    def finish(self, offset: int) -> None:
        if others := self._lent.pop(offset, 0):
            if others > 1:
                self._lent[offset] = others - 1
            return
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())

    def unfinished(self, end: int) -> int:
        """How many records before `end` are not finished, read or not. 0 before any record."""
        unread = 0 if self._next is None else max(0, end - self._next)
        return unread + len(self._open) - len(self._finished)

    def oldest(self) -> Iterator[int]:
        """What is not finished, in order: the first keeps all behind it from being committed."""
        return (offset for offset in self._open if offset not in self._finished)

    def close(self) -> None:
        self._closed = True

    def is_closed(self) -> bool:
        return self._closed

    @property
    def commit_point(self) -> int | None:
        """The offset to commit: of the first record that a successor must read. None before any record."""
        return self._open[0] if self._open else self._next

    @property
    def held_up(self) -> int:
        """How many finished records lie behind an unfinished one."""
        return len(self._finished)

    @property
    def span(self) -> int:
        """How many records lie between the commit point and the last one registered."""
        return len(self._open)
