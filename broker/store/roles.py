"""Which operators have which role. Within an act, so that a role that is asked for stays until the commit."""

from typing import Final, Literal, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.bulk import insert_rows
from broker.store.clock import now_ms
from broker.store.tables.policy import roles

Role = Literal["reviewer"]
REVIEWER: Final[Role] = "reviewer"


class Given(NamedTuple):
    operator: str
    given_ms: int


async def give(connection: AsyncConnection, operator: str, role: Role) -> bool:
    """Whether it is new."""
    at_ms = (await connection.execute(select(now_ms()))).scalar_one()
    row = {"operator": operator, "role": role, "given_ms": at_ms}
    return bool(await insert_rows(connection, roles, [row], ["operator"]))


async def take(connection: AsyncConnection, operator: str, role: Role) -> bool:
    """Whether they had it."""
    found = await connection.execute(delete(roles).where(roles.c.operator == operator, roles.c.role == role))
    return found.rowcount == 1


async def has(connection: AsyncConnection, operator: str, role: Role) -> bool:
    query = select(roles.c.operator).where(roles.c.operator == operator, roles.c.role == role)
    return await connection.scalar(query) is not None


async def holders(connection: AsyncConnection, role: Role) -> list[Given]:
    query = select(roles.c.operator, roles.c.given_ms).where(roles.c.role == role).order_by(roles.c.operator)
    return [Given(*row) for row in await connection.execute(query)]
