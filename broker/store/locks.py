"""Locks that processes share by way of the database, each held until the connection's transaction ends."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_GATE = 0x68775F67
"""Any number that no other pair of an advisory lock begins with: the bytes of `hw_g`."""
_CANCELS = 0x68775F63616E63
"""The bytes of `hw_canc`."""
_IDLE_MS_MAX = 120_000
"""The transaction that holds the lock idles while another one reads."""

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_OF = text("SELECT pg_advisory_xact_lock(:kind, :number)")


async def gate_lock(connection: AsyncConnection, organization_id: int) -> None:
    """Of several processes that want to rebuild an organization's counters, let one at a time. First in the
    transaction, which must be `Database.begin`'s.

    Nobody else needs it. Who writes intents, verdicts and charges moves the hold afterwards; the gate is
    closed until the rebuild ends, so that such a move waits for it, and comes on top of what was read.
    """
    # A transaction on SQLite begins by taking the one write lock there is, and so is exclusive already.
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_MS_MAX}")
        await connection.execute(_LOCK_OF, {"kind": _GATE, "number": organization_id})


async def cancels_lock(connection: AsyncConnection) -> None:
    """Let cancellations be entered by one process at a time, so that their revisions are committed in order.
    First in the transaction, which must be `Database.begin`'s.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(_LOCK, {"key": _CANCELS})
