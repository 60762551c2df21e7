"""Where replies go: to the partition that an address names, else to the job's own; to no other topic."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Gate
from broker.records import partition_of
from broker.store.dispositions import Disposition, Settled
from schemas.outcomes import Expired
from tests.unit.workers.memory import PARTITIONS, MemoryProducer, received, state, tools
from workers.settle import Settle
from workers.settlements import PartitionBatch, SettlementBook

JOBS = [UUID(int=number) for number in range(9, 15)]


class Book:
    """Every record ends its job."""

    async def settle(self, *batches: PartitionBatch) -> list[Settled]:
        return [Settled(Disposition.NEW, None) for batch in batches for _ in batch.settlements]


class Missing(MemoryProducer):
    """Has the topic `replies.shop` alone."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def partitions(self, topic: str, least: int = 1) -> int | None:
        self.asked.append(topic)
        return PARTITIONS if topic == "replies.shop" else None


async def replied(reply_to: Sequence[str]) -> tuple[list[tuple[UUID, int | None]], Missing, float]:
    """Who is told at which partition, of JOBS in turn; the producer; how many replies had no place."""
    producer = Missing()
    made = tools(producer)
    stage = Settle(made, cast(SettlementBook, Book()), cast(Gate, None), cast(CoordinateReader, None))
    ended = [state(job_id=job, reply_to=to, hold=None) for job, to in zip(JOBS, reply_to, strict=True)]
    records = [made.outlets.outcome(each, Expired(stage="retry"), b"{}") for each in ended]
    await stage.handle([received(record, 0, offset) for offset, record in enumerate(records)])
    undeliverable = made.metrics.registry.get_sample_value("headworks_undeliverable_replies_total")
    return (
        [(UUID(bytes=each.key or b""), each.partition) for each in producer.sent],
        producer,
        undeliverable or 0,
    )


async def test_jobs_of_one_address_have_each_their_own_partition() -> None:
    told, producer, _ = await replied(["replies.shop"] * len(JOBS))
    assert told == [(job, partition_of(job.bytes, PARTITIONS)) for job in JOBS]
    assert len({partition for _, partition in told}) > 1
    assert producer.asked == ["replies.shop"]


@pytest.mark.parametrize("partition", range(PARTITIONS))
async def test_an_address_may_name_the_partition(partition: int) -> None:
    told, _, _ = await replied([f"replies.shop/{partition}/own"] * len(JOBS))
    assert told == [(job, partition) for job in JOBS]


async def test_each_reply_without_a_place_is_counted_and_holds_up_no_other() -> None:
    nowhere = ["replies.shop.gone", f"replies.shop/{PARTITIONS}"]
    told, _, undeliverable = await replied([*nowhere, *nowhere, "replies.shop/1", "replies.shop/2"])
    assert told == [(JOBS[4], 1), (JOBS[5], 2)]
    assert undeliverable == 4
