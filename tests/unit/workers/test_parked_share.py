"""Each partition of `parked` is looked after by one worker, also those that were added to it alone."""

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from broker.kafka.producing import Producer
from schemas import topics
from workers.parked_share import SHARED_BY, ParkedShare, looked_after


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 40))
def test_of_a_group_one_member_looks_after_each_partition(owners: list[int], parked: int) -> None:
    """`owners`: of each partition of the topic that the group shares."""
    found = [
        number
        for member in range(4)
        for number in looked_after(
            [number for number, owner in enumerate(owners) if owner == member], len(owners), parked
        )
    ]
    assert sorted(found) == list(range(max(len(owners), parked)))


def test_a_worker_without_a_partition_looks_after_none() -> None:
    assert looked_after([], 3, 10) == []


class Growing:
    """A Kafka whose topics grow; a look-up is made for more than is known alone."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.known = dict(counts)

    async def partitions(self, topic: str, least: int = 1) -> int | None:
        name = "shared" if topic == SHARED_BY else topic
        if self.known[name] < least:
            self.known[name] = self.counts[name]
        return self.known[name]


async def test_partitions_that_are_added_are_seen_within_seconds() -> None:
    kafka = Growing(shared=3, parked=3)
    share = ParkedShare(cast(Producer, kafka))
    assert topics.PARKED == "parked"
    assert await share.of([1], 0) == [1]
    kafka.counts["parked"] = 8
    assert await share.of([1], 9_999) == [1]
    assert await share.of([1], 10_000) == [1, 4, 7]
    assert await share.of([0, 2], 10_001) == [0, 2, 3, 5, 6]
