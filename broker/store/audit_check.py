"""Reading the audit back: is every chain whole, from its first entry to the head that SETTLE keeps?"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit import chain
from broker.store.database import Database
from broker.store.positions import Position
from broker.store.tables import audit, positions

_CHUNK_ROWS = 1_000


async def broken_chain(database: Database) -> str | None:
    """Where the first chain is broken or cut short, `topic/partition/position`; None where all are whole."""
    async with database.begin() as connection:
        heads = [Position(*row) for row in await connection.execute(select(positions))]
        for head in sorted(heads):
            at = await _broken_at(connection, head)
            if at is not None:
                return f"{head.topic}/{head.partition}/{at}"
    return None


async def _broken_at(connection: AsyncConnection, head: Position) -> int | None:
    last = chain.GENESIS
    for start in range(0, head.chain_length, _CHUNK_ROWS):
        statement = (
            select(audit.c.position, audit.c.entry, audit.c.hash)
            .where(
                audit.c.topic == head.topic,
                audit.c.partition == head.partition,
                audit.c.position >= start,
                audit.c.position < min(start + _CHUNK_ROWS, head.chain_length),
            )
            .order_by(audit.c.position)
        )
        rows = list(await connection.execute(statement))
        links = [chain.Link(row.position, row.entry, row.hash) for row in rows]
        broken = chain.verify(links, start, last)
        if broken is not None:
            return broken
        if len(rows) < min(_CHUNK_ROWS, head.chain_length - start):
            return start + len(rows)
        last = rows[-1].hash
    return None if last == head.chain_head else head.chain_length
