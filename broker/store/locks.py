"""Locks that processes share by way of the database, each held until the connection's transaction ends."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_GATE = 0x68775F67617465
"""Any number that no other advisory lock uses: the bytes of `hw_gate`."""

_SHARED = text("SELECT pg_advisory_xact_lock_shared(:key)")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(:key)")


async def gate_lock_shared(connection: AsyncConnection) -> None:
    """Keep the gate's counters from being rebuilt meanwhile. First in the transaction, which must be
    `Database.begin`'s.

    SETTLE takes it where it writes charges. DISPATCH needs none: it puts the intent on record before it
    starts the hold, so a rebuild in between finds the intent and holds for it, and one before it leaves the
    hold to be taken anew.

    Never wait for a closed gate in such a transaction: the rebuild waits for its end.
    """
    await _lock(connection, exclusive=False)


async def gate_lock_exclusive(connection: AsyncConnection) -> None:
    """For the rebuild alone: wait until every holder of the shared lock is through, and keep new ones out."""
    await _lock(connection, exclusive=True)


async def _lock(connection: AsyncConnection, *, exclusive: bool) -> None:
    # A transaction on SQLite begins by taking the one write lock there is, and so is exclusive already.
    if connection.dialect.name == "postgresql":
        await connection.execute(_EXCLUSIVE if exclusive else _SHARED, {"key": _GATE})
