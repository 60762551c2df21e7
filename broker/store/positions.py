"""How far SETTLE has come in each partition of `outcomes.*`, and the head of that partition's audit chain."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.chain import GENESIS
from broker.errors import Fenced
from broker.store.bulk import insert_rows
from broker.store.tables import positions


class Place(NamedTuple):
    topic: str
    partition: int


class Position(NamedTuple):
    """`next_offset` is the first that is not settled yet; `chain_head` the hash of `chain_length` entries."""

    topic: str
    partition: int
    next_offset: int = 0
    chain_length: int = 0
    chain_head: str = GENESIS

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition)


_READ = select(*(positions.c[name] for name in Position._fields)).where(
    positions.c.topic == bindparam("topic"), positions.c.partition == bindparam("partition")
)
_MOVE = (
    update(positions)
    .where(
        positions.c.topic == bindparam("of_topic"),
        positions.c.partition == bindparam("of_partition"),
        positions.c.next_offset == bindparam("seen_offset"),
        positions.c.chain_length == bindparam("seen_length"),
    )
    .values({name: bindparam(name) for name in ("next_offset", "chain_length", "chain_head")})
)


async def read(connection: AsyncConnection, place: Place) -> Position:
    """Where nothing was settled yet, the beginning."""
    row = (await connection.execute(_READ, place._asdict())).one_or_none()
    return Position(*place) if row is None else Position(*row)


async def move(connection: AsyncConnection, moves: Iterable[tuple[Position, Position]]) -> None:
    """Move each position from where the caller saw it to its goal; in the order of their names, so that two
    processes do not wait for each other in a circle.

    Raises Fenced where another process has moved one since.
    """
    for seen, goal in sorted(moves):
        if seen != goal and not await _move_one(connection, seen, goal):
            raise Fenced(f"another process settles {seen.topic}/{seen.partition}")


async def _move_one(connection: AsyncConnection, seen: Position, goal: Position) -> bool:
    values = {
        "of_topic": seen.topic,
        "of_partition": seen.partition,
        "seen_offset": seen.next_offset,
        "seen_length": seen.chain_length,
        "next_offset": goal.next_offset,
        "chain_length": goal.chain_length,
        "chain_head": goal.chain_head,
    }
    moved = (await connection.execute(_MOVE, values)).rowcount == 1
    return moved or (seen == Position(*seen.place) and await _enter(connection, goal))


async def _enter(connection: AsyncConnection, goal: Position) -> bool:
    return bool(await insert_rows(connection, positions, [goal._asdict()], ["topic"]))
