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
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from workers.engine.places import Places

T = TypeVar("T")


class Tenant(NamedTuple):
    """Whose something is, and what it costs to serve: at least 1, in any one unit."""

    key: Hashable
    cost: int


def equal(_: Hashable) -> int:
    """The same weight for every tenant."""
    return 1


class Claim(NamedTuple):
    """What a record claims of whatever there is too little of."""

    tenant: Tenant
    resource: Hashable = None
    """At which it takes a place beside its slot; None: it takes none."""


@dataclass(frozen=True)
class Sharing(Generic[T]):
    """How tenants share: see the module. `quantum` and `cost_max` are in the unit of the costs."""

    classify: Callable[[T], Claim]
    """Must not raise, whatever it is given: nothing is verified yet. With time the resource may become None,
    if the record is to be handed on though there is no place.
    """
    quantum: int
    cost_max: int
    weight: Callable[[Hashable], int] = equal
    """Of a tenant's key; at least 1."""
    places: Places | None = None
    """At the resources. None: nothing takes one."""


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

    def __iter__(self) -> Iterator[T]:
        """What waits, tenant by tenant."""
        return (item for queue in self._ring for _, item in queue.waiting)

    @property
    def tenants(self) -> int:
        """How many wait."""
        return len(self._ring)

    def push(self, tenant: Tenant, item: T) -> None:
        """Raises ValueError where the tenant's weight is below 1."""
        queue, cost = self._queue(tenant)
        queue.waiting.append((cost, item))

    def put_back(self, tenant: Tenant, item: T) -> None:
        """Before all that waits of its tenant."""
        queue, cost = self._queue(tenant)
        queue.waiting.appendleft((cost, item))

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
        return self.take_with_cost()[0]

    def take_with_cost(self) -> tuple[T, int]:
        """Also what it counted as. Raises IndexError where nothing waits."""
        item = self.head()
        queue = self._ring[0]
        cost, _ = queue.waiting.popleft()
        queue.deficit -= cost
        if not queue.waiting:
            self._leave(queue)
        return item, cost

    def drop(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out all that is unwanted. What is left keeps its order, its tenant turn and deficit."""
        dropped: list[T] = []
        for queue in list(self._ring):
            kept: deque[tuple[int, T]] = deque()
            for waits in queue.waiting:
                if unwanted(waits[1]):
                    dropped.append(waits[1])
                else:
                    kept.append(waits)
            queue.waiting = kept
            if not kept:
                self._leave(queue)
        return dropped

    def _queue(self, tenant: Tenant) -> tuple[_Queue[T], int]:
        """The tenant's queue, and the cost that counts."""
        key, cost = tenant
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = self._join(key)
        if not 1 <= cost <= self._cost_max:
            cost = 1 if cost < 1 else self._cost_max
        return queue, cost

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
