"""How those who await a job's end, and those who write it, do not miss each other.

A waiter and a terminal may be written at the same time, by two transactions of which neither sees the other.
Who ends jobs by one statement looks for waiters in that statement, as of its beginning, and not again. So who
has written a waiter waits until all such statements are over that began before, and looks for the terminal.

Such a statement, and nothing else, takes the lock ROW SHARE on the table. PostgreSQL takes it before it
settles what the statement sees (at READ COMMITTED): one that has no lock yet will see the waiter.
"""

import asyncio
from typing import Final

from sqlalchemy import String, column, text

from broker.store.database import Line

_LOOK_S: Final = 0.005
_ENDING = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'waiters'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowShareLock' AND granted"
).columns(column("virtualtransaction", String))


async def let_ends_pass(connection: Line) -> None:
    """Return when every statement is over that may not have seen what was committed before. On SQLite, where
    transactions that write come one after the other, there is none.
    """
    if connection.dialect.name != "postgresql":
        return
    under_way = await _under_way(connection)
    while under_way:
        await asyncio.sleep(_LOOK_S)
        under_way &= await _under_way(connection)


async def _under_way(connection: Line) -> set[str]:
    return {row.virtualtransaction for row in await connection.execute(_ENDING)}
