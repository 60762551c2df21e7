"""Who may decide reviews: operators that have the role of a reviewer."""

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import NotFound, RoleMissing, SettingsInvalid
from broker.ops.changes import act
from broker.ops.operator import CHARS_MAX, operator
from broker.store import roles
from broker.store.database import Database
from broker.store.operations import Operation, record
from broker.store.roles import REVIEWER, Given


async def appoint(database: Database, name: str) -> bool:
    """Whether they were none before. Raises SettingsInvalid where nobody can have such a name."""
    if not (0 < len(name) <= CHARS_MAX and name.isprintable()):
        raise SettingsInvalid(f"an operator's name has 1 to {CHARS_MAX} printable characters")
    async with act(database) as connection:
        if is_new := await roles.give(connection, name, REVIEWER):
            change = Operation(operator(), "reviewer.appoint", name, {}, {"role": REVIEWER})
            await record(connection, change)
    return is_new


async def dismiss(database: Database, name: str) -> None:
    """What they decided stands. Raises NotFound where they are no reviewer."""
    async with act(database) as connection:
        if not await roles.take(connection, name, REVIEWER):
            raise NotFound(f"{name[:CHARS_MAX]!r} is no reviewer; `headworks review reviewers` names them")
        change = Operation(operator(), "reviewer.dismiss", name, {"role": REVIEWER}, {"role": None})
        await record(connection, change)


async def list_all(database: Database) -> list[Given]:
    async with database.connect() as connection:
        return await roles.holders(connection, REVIEWER)


async def require(connection: AsyncConnection) -> str:
    """Who is at the keyboard, within an act. Raises RoleMissing where they are no reviewer."""
    name = operator()
    if not await roles.has(connection, name, REVIEWER):
        raise RoleMissing(f"{name} is no reviewer: `headworks review appoint` makes one, and is on record")
    return name
