"""Who is served next inside a lane: deficit round robin (Shreedhar and Varghese, 1995). Pure.

Tenants that wait stand in a ring. At its turn a tenant's deficit grows by its share, the quantum times its
weight, and it is served from the front of its queue while the deficit pays for it. What is left is kept for
the next turn, unless the queue ran empty: so nobody saves up while nothing waits.

While tenants i and j both wait, what they were served, each divided by its weight, differs by at most
quantum + cost_max if neither had a deficit at the start, and by cost_max more over any other stretch of time.
A record's cost counts as at most `cost_max`: no claim can keep its tenant waiting for ever, and a service
looks at `cost_max / quantum` turns on average at the worst.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Tenant(NamedTuple):
    """Whose something is, and what it costs to serve: at least 1, in any one unit."""

    key: Hashable
    cost: int


def equal(_: Hashable) -> int:
    """The same weight for every tenant."""
    return 1


@dataclass(frozen=True)
class Sharing(Generic[T]):
    """How tenants share: see the module. `quantum` and `cost_max` are in the unit of the costs."""

    classify: Callable[[T], Tenant]
    """Must not raise, whatever it is given: nothing is verified yet."""
    quantum: int
    cost_max: int
    weight: Callable[[Hashable], int] = equal
    """Of a tenant's key; at least 1."""


@dataclass(eq=False, slots=True)
class _Queue(Generic[T]):
    key: Hashable
    share: int
    """What each turn adds to the deficit."""
    deficit: int = 0
    waiting: deque[tuple[int, T]] = field(default_factory=deque)
    """With their costs, first in, first out."""


class Tenants(Generic[T]):
    """`quantum`: what a turn adds for a weight of 1. `weight(key)` is asked when a tenant begins to wait."""

    def __init__(self, quantum: int, cost_max: int, weight: Callable[[Hashable], int] = equal) -> None:
        """Raises ValueError where `quantum` or `cost_max` is below 1."""
        if quantum < 1 or cost_max < 1:
            raise ValueError("a quantum and a cost are at least 1")
        self._quantum = quantum
        self._cost_max = cost_max
        self._weight = weight
        self._queues: dict[Hashable, _Queue[T]] = {}
        self._ring: deque[_Queue[T]] = deque()
        self._turn_begun = False
        """Whether the first of the ring has had this turn's share."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._ring)

    def push(self, tenant: Tenant, item: T) -> None:
        """Raises ValueError where the tenant's weight is below 1."""
        key, cost = tenant
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = self._join(key)
        if not 1 <= cost <= self._cost_max:
            cost = 1 if cost < 1 else self._cost_max
        queue.waiting.append((cost, item))

    def head(self) -> T:
        """What `take` gives next. Raises IndexError where nothing waits."""
        while True:
            queue = self._ring[0]
            if not self._turn_begun:
                queue.deficit += queue.share
                self._turn_begun = True
            cost, item = queue.waiting[0]
            if cost <= queue.deficit:
                return item
            self._ring.rotate(-1)
            self._turn_begun = False

    def take(self) -> T:
        """Raises IndexError where nothing waits."""
        item = self.head()
        queue = self._ring[0]
        cost, _ = queue.waiting.popleft()
        queue.deficit -= cost
        if not queue.waiting:
            self._leave(queue)
        return item

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Take out all that is unwanted. What is left keeps its order, its tenant turn and deficit."""
        for queue in list(self._ring):
            queue.waiting = deque(waits for waits in queue.waiting if not unwanted(waits[1]))
            if not queue.waiting:
                self._leave(queue)

    def _join(self, key: Hashable) -> _Queue[T]:
        weight = self._weight(key)
        if weight < 1:
            raise ValueError("a tenant's weight is at least 1")
        queue: _Queue[T] = _Queue(key, self._quantum * weight)
        self._ring.append(queue)
        return queue

    def _leave(self, queue: _Queue[T]) -> None:
        if queue is self._ring[0]:
            self._turn_begun = False
        self._ring.remove(queue)
        del self._queues[queue.key]
