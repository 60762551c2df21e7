"""What waits in a lane, in lines: one a resource at which records take places, one for what takes none. Pure.

A line of which no record can have a place stands still and holds up no other. Inside a line the tenants are
served in turn (see `tenants`). Lines that move take turns by stride scheduling (Waldspurger and Weihl, 1995):
by cost, each with the weight of as many tenants as wait in it. So a tenant of one line is served like those
of the others, and one that waits in two like two. Resources are few: a line stays when nothing waits in it.
"""

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from operator import attrgetter
from typing import Generic, TypeVar

from workers.engine.places import Places
from workers.engine.tenants import Claim, Tenants

T = TypeVar("T")


class _Line(Generic[T]):
    __slots__ = ("asks", "count", "granted", "pass_", "places", "resource", "waiting")

    def __init__(self, resource: Hashable, waiting: Tenants[T]) -> None:
        self.resource = resource
        self.waiting = waiting
        self.count = 0
        self.pass_ = 0.0
        self.places = 0
        """Taken for it and not used yet."""
        self.asks = False
        """Whether its lane stands in line for more."""
        self.granted: Callable[[], bool] = lambda: False


_PASS = attrgetter("pass_")


class Lines(Generic[T]):
    """`tenants()` makes a line's queue. `on_place` is called when a line moves again. `wants_more()`: whether
    what has a place can be handed on now; else a line takes one at most.
    """

    def __init__(
        self,
        lane: str,
        tenants: Callable[[], Tenants[T]],
        places: Places | None,
        on_place: Callable[[], None],
        wants_more: Callable[[], bool],
    ) -> None:
        self._lane = lane
        self._tenants = tenants
        self._places = places
        self._on_place = on_place
        self._wants_more = wants_more
        self._lines: dict[Hashable, _Line[T]] = {}
        self._now = 0.0

    def __bool__(self) -> bool:
        """Whether something waits that may have what it takes."""
        return any(_moves(line) for line in self._lines.values())

    def waiting(self, resource: Hashable) -> int:
        line = self._lines.get(resource)
        return 0 if line is None else line.count

    def still(self) -> Iterator[T]:
        """What waits for a place."""
        return (item for line in self._lines.values() if not _moves(line) for item in line.waiting)

    def push(self, claim: Claim, item: T) -> None:
        self._joined(claim.resource).waiting.push(claim.tenant, item)

    def put_back(self, claim: Claim, item: T) -> None:
        """Before all that waits of its tenant in its line."""
        self._joined(claim.resource).waiting.put_back(claim.tenant, item)

    def head(self) -> T | None:
        """What `take` gives next; its place is taken now. None where nothing can be handed on."""
        line = self._next()
        return None if line is None else line.waiting.head()

    def take(self) -> T:
        """With its place, if it takes one. Raises IndexError where nothing can be handed on."""
        line = self._next()
        if line is None:
            raise IndexError("nothing can be handed on")
        tenants = line.waiting.tenants
        item, cost = line.waiting.take_with_cost()
        self._now = max(self._now, line.pass_)
        line.pass_ += cost / tenants
        line.places -= line.resource is not None
        line.count -= 1
        return item

    def enter(self, resource: Hashable) -> bool:
        """A place for what does not wait in line, where nobody waits for one; what takes none, has one."""
        if resource is None or self._places is None:
            return True
        if self.waiting(resource):
            return False
        if self._places.enter(resource, self._lane, lambda: False):
            return True
        self._places.withdraw(resource, self._lane)
        return False

    def drop(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out all that is unwanted."""
        dropped: list[T] = []
        for line in self._lines.values():
            gone = line.waiting.drop(unwanted)
            line.count -= len(gone)
            self._give_up(line)
            dropped += gone
        return dropped

    def give_back(self) -> None:
        """The places that were taken for what is not handed on yet. A line in which somebody asks may have
        one again at once.
        """
        for line in self._lines.values():
            idle, line.places = line.places, 0
            for _ in range(idle):
                self._leave(line)

    def _joined(self, resource: Hashable) -> _Line[T]:
        """One more waits. A line in which nobody did can have saved nothing up."""
        line = self._lines.get(resource)
        if line is None:
            line = self._lines[resource] = _Line(resource, self._tenants())
            line.granted = partial(self._granted, line)
        if not line.count:
            line.pass_ = max(line.pass_, self._now)
        line.count += 1
        return line

    def _next(self) -> _Line[T] | None:
        while moving := [line for line in self._lines.values() if _moves(line)]:
            line = moving[0] if len(moving) == 1 else min(moving, key=_PASS)
            if line.resource is None or line.places:
                return line
            if self._places is None or self._places.enter(line.resource, self._lane, line.granted):
                line.places += 1
                return line
            line.asks = True
        return None

    def _granted(self, line: _Line[T]) -> bool:
        """A line that stood still can have saved nothing up."""
        if not line.places:
            line.pass_ = max(line.pass_, self._now)
        line.places += 1
        line.asks = line.places < line.count and self._wants_more()
        self._on_place()
        return line.asks

    def _give_up(self, line: _Line[T]) -> None:
        """Places for which nothing waits any more."""
        if line.asks and line.places >= line.count and self._places is not None:
            line.asks = False
            self._places.withdraw(line.resource, self._lane)
        while line.places > line.count:
            line.places -= 1
            self._leave(line)

    def _leave(self, line: _Line[T]) -> None:
        if self._places is not None:
            self._places.leave(line.resource, self._lane)


def _moves(line: _Line[T]) -> bool:
    return line.count > 0 and (line.places > 0 or not line.asks)
