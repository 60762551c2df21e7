"""What the engine asks of a stream: the seam between the pump and Kafka."""

from collections.abc import Collection, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar


class Partition(NamedTuple):
    """Equal and hash-equal to aiokafka's `TopicPartition`."""

    topic: str
    partition: int


class Record(Protocol):
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


R = TypeVar("R", bound=Record)


class Unreadable(NamedTuple):
    """A record that could not be decoded. `raw`: its bytes in the log, as far as they can be told."""

    topic: str
    partition: int
    offset: int
    error: str
    raw: bytes = b""


class Fetched(NamedTuple, Generic[R]):
    records: Sequence[R]
    unreadable: Unreadable | None = None
    """Comes after `records`."""


class Assignment(Protocol):
    """Told by the source when the group gives or takes partitions."""

    async def assigned(self, partitions: Collection[Partition]) -> None: ...
    async def revoked(self, partitions: Collection[Partition]) -> None: ...


class Source(Protocol[R]):
    """One consumer in one group. Offsets are committed by the pump alone."""

    async def start(self, assignment: Assignment) -> None: ...

    async def fetch(self, partition: Partition, records_max: int, wait_ms: int) -> Fetched[R]:
        """Up to `records_max` records of the partition in order; none after `wait_ms`.

        A record that cannot be decoded comes once, as Unreadable, and is passed over.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None: ...

    def end(self, partition: Partition) -> int | None:
        """The offset after the partition's last record, as far as is known; None before the first fetch."""
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...
