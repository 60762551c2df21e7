"""How far SETTLE has come in each partition of `outcomes.*`, and the head of that partition's audit chain."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, select

from broker.audit.chain import GENESIS
from broker.errors import Fenced
from broker.store.bulk import Look, insert_rows, update_all, update_rows
from broker.store.database import Line
from broker.store.driver import AnyRow
from broker.store.tables.audit import positions


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
_MATCH = {
    "topic": "topic",
    "partition": "partition",
    "next_offset": "seen_offset",
    "chain_length": "seen_length",
}


async def read(connection: Line, place: Place) -> Position:
    """Where nothing was settled yet, the beginning."""
    row = (await connection.execute(_READ, place._asdict())).one_or_none()
    return Position(*place) if row is None else Position(*row)


async def move(
    connection: Line,
    moves: Sequence[tuple[Position, Position]],
    beside: Mapping[Table, Sequence[Any]],
) -> None:
    """Move each position from where the caller saw it to its goal, and insert the rows `beside`.

    Raises Fenced where another process has moved one since.
    """
    rows = [_move(seen, goal) for seen, goal in moves]
    found = await update_rows(connection, positions, rows, _MATCH, beside)
    missing = {(goal.topic, goal.partition): (seen, goal) for seen, goal in moves}
    for row in found:
        del missing[row.topic, row.partition]
    first = [goal._asdict() for seen, goal in missing.values() if seen == Position(*seen.place)]
    entered = await insert_rows(connection, positions, first, ["topic"])
    if len(entered) < len(missing):
        raise Fenced(f"another process settles one of {len(missing)} partitions")


async def move_all(
    connection: Line,
    moves: Sequence[tuple[Position, Position]],
    new: Mapping[Table, Sequence[Any]],
    beside: Mapping[Table, Sequence[Any]],
    look: Look,
) -> list[AnyRow] | None:
    """As `move`, with rows that must be new, in one round trip without a transaction. Returns what `look`
    finds. PostgreSQL alone.

    None, and nothing is written, where that cannot be: a position is another's, or its partition's first, or
    one of `new` is there already.
    """
    rows = [_move(seen, goal) for seen, goal in moves]
    return await update_all(connection, positions, rows, _MATCH, new, beside, look)


def _move(seen: Position, goal: Position) -> dict[str, Any]:
    return goal._asdict() | {"seen_offset": seen.next_offset, "seen_length": seen.chain_length}
