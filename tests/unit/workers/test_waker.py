"""Parked jobs are woken whatever a round of the waker comes to."""

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from broker.errors import RedisUnavailable
from broker.kafka.reading import CoordinateReader
from broker.store.parking import ParkedRow, Parking
from schemas import topics
from schemas.topics import Lane
from tests.unit.workers.engine.turning import until
from tests.unit.workers.memory import NOW_MS, MemoryProducer, received, state, tools
from tests.unit.workers.test_deadlines import Index, OneRecord
from workers.crowds import Room
from workers.retry import Waker


class NoRoom:
    """Nobody knows how much room there is, until `fault` is None."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault
        self.asked = 0

    async def first(self, partitions: Sequence[int], limit: int) -> list[ParkedRow]:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return []


class Night:
    """A waker with one job that is due."""

    def __init__(self, room: NoRoom) -> None:
        self.producer = MemoryProducer()
        kit = tools(self.producer)
        record = received(kit.sealer.seal(topics.PARKED, state(), b"{}"))
        self.index = Index(
            ParkedRow(0, 0, 1, UUID(int=7), 1, 1, 3, "standard", NOW_MS, "requests_per_minute")
        )
        reader, parking = cast(CoordinateReader, OneRecord(record)), cast(Parking, self.index)
        self.waker = Waker(kit, parking, reader, cast(Room, room), 0.0, lambda: [0])


async def test_what_is_due_is_woken_while_the_gate_is_away() -> None:
    night = Night(NoRoom(RedisUnavailable("away")))
    with pytest.raises(RedisUnavailable):
        await night.waker.wake()
    assert [sent.topic for sent in night.producer.sent] == [topics.admitted(Lane.STANDARD)]
    assert night.index.rows == []


async def test_a_round_that_fails_in_an_unforeseen_way_is_not_the_last() -> None:
    room = NoRoom(RuntimeError("nobody thought of it"))
    running = asyncio.create_task(Night(room).waker.run())
    await until(lambda: room.asked >= 2)
    room.fault, asked = None, room.asked
    await until(lambda: room.asked > asked)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
