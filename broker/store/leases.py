"""The leases of worker processes, by the database's clock. Attempts name their owner by its incarnation."""

import uuid

from sqlalchemy import delete, insert, update

from broker.store.clock import now_ms
from broker.store.database import Database
from broker.store.tables.ledger import workers

_FORGET_AFTER_MS = 24 * 3600 * 1000


class Leases:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def join(self, host: str, pid: int, lease_ms: int) -> str:
        """Enter a process and give it a name never used before, its incarnation (32 hexadecimal digits)."""
        incarnation = uuid.uuid4().hex
        row = insert(workers).values(
            incarnation=incarnation,
            host=host[:255],
            pid=pid,
            started_ms=now_ms(),
            lease_until_ms=now_ms() + lease_ms,
        )
        async with self._database.begin() as connection:
            # To attempts that name it, an owner that is not there is as dead as one whose lease ran out.
            await connection.execute(
                delete(workers).where(workers.c.lease_until_ms < now_ms() - _FORGET_AFTER_MS)
            )
            await connection.execute(row)
        return incarnation

    async def renew(self, incarnation: str, lease_ms: int) -> bool:
        """False where the lease ran out: the process must act as dead, for another may have taken over."""
        statement = (
            update(workers)
            .where(workers.c.incarnation == incarnation, workers.c.lease_until_ms > now_ms())
            .values(lease_until_ms=now_ms() + lease_ms)
        )
        async with self._database.connect() as connection:
            renewed = await connection.execute(statement)
        return renewed.rowcount == 1

    async def leave(self, incarnation: str) -> None:
        """End the lease of a process that has finished its calls."""
        async with self._database.connect() as connection:
            await connection.execute(delete(workers).where(workers.c.incarnation == incarnation))
