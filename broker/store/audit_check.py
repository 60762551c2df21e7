"""Reading the audit back: is every chain whole, from its first entry to the head that SETTLE keeps?"""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit import chain
from broker.audit.chain import Link
from broker.store.database import Database
from broker.store.positions import Position
from broker.store.tables.audit import audit, positions

CHUNK_ROWS: Final = 1_000


class Broken(NamedTuple):
    """Where a chain does not hold, or is cut short. Written `topic/partition/position`."""

    topic: str
    partition: int
    position: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.position}"


async def broken_chain(database: Database) -> str | None:
    """Where the first chain is broken or cut short, `topic/partition/position`; None where all are whole."""
    async with database.begin() as connection:
        for head in await heads(connection):
            async for found in walk(connection, head):
                if isinstance(found, Broken):
                    return str(found)
    return None


async def heads(connection: AsyncConnection) -> list[Position]:
    return sorted(Position(*row) for row in await connection.execute(select(positions)))


async def walk(connection: AsyncConnection, head: Position) -> AsyncIterator[list[Link] | Broken]:
    """The chain up to `head`, in pieces, each verified; at its end where it does not hold, if so."""
    last = chain.GENESIS
    for start in range(0, head.chain_length, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, head.chain_length)
        links = await _read(connection, head, start, stop)
        broken = chain.verify(links, start, last)
        if broken is None and len(links) < stop - start:
            broken = start + len(links)
        if broken is not None:
            yield Broken(head.topic, head.partition, broken)
            return
        yield links
        last = links[-1].hash
    if last != head.chain_head:
        yield Broken(head.topic, head.partition, head.chain_length)


async def _read(connection: AsyncConnection, head: Position, start: int, stop: int) -> list[Link]:
    statement = (
        select(audit.c.position, audit.c.entry, audit.c.hash)
        .where(
            audit.c.topic == head.topic,
            audit.c.partition == head.partition,
            audit.c.position >= start,
            audit.c.position < stop,
        )
        .order_by(audit.c.position)
    )
    return [Link(*row) for row in await connection.execute(statement)]
