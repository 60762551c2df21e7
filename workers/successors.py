"""Records that stand for jobs under way in this process, and what becomes of them when they are read."""

from collections import OrderedDict
from typing import Final

from broker.records import Outgoing, partition_of
from broker.store.keys import AttemptKey
from schemas import topics
from schemas.topics import Lane
from workers.engine.source import Partition

_KEPT_MAX: Final = 10_000


class Successors:
    """Of attempts that got another record (see `engine.rehoming`): whether what follows from them is
    published. Only the last 10,000 are known; of one that is not, DISPATCH says again what it said.
    """

    def __init__(self) -> None:
        self._are_through: OrderedDict[AttemptKey, bool] = OrderedDict()

    def begin(self, key: AttemptKey) -> None:
        """A successor is to be published."""
        self._are_through.setdefault(key, False)
        if len(self._are_through) > _KEPT_MAX:
            self._are_through.popitem(last=False)

    def through(self, key: AttemptKey) -> None:
        """All that follows from the attempt is acknowledged."""
        if key in self._are_through:
            self._are_through[key] = True

    def is_through(self, key: AttemptKey) -> bool:
        return self._are_through.get(key, False)


def at_home(record: Outgoing, lane: Lane, assigned: list[Partition]) -> Outgoing:
    """In a partition that this process reads, where there is one: it knows best what is under way here."""
    topic = topics.reserved(lane)
    own = sorted(partition for name, partition in assigned if name == topic)
    if not own:
        return record
    return record._replace(partition=own[partition_of(record.key or b"", len(own))])
