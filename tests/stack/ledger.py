"""What the ledger and the gate hold of one application, read for assertions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import ColumnElement, Row, Table, func, select

from broker.audit import chain
from broker.settings import Settings
from broker.store.database import Database
from broker.store.tables.audit import audit, positions
from broker.store.tables.identity import applications, projects
from broker.store.tables.ledger import attempts, cancels, charges, jobs, terminals, verdicts, workers
from broker.store.tables.set_aside import dead_letters, parked

Rows = Sequence[Row[Any]]


class Ledger:
    """Reads by connections of its own, so that it serves any event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def jobs(self, application: str) -> Rows:
        return await self._of(jobs, application)

    async def terminals(self, application: str) -> Rows:
        return await self._of(terminals, application)

    async def charges(self, application: str, job_id: UUID | None = None) -> Rows:
        rows = await self._of(charges, application)
        return [row for row in rows if job_id in (None, row.job_id)]

    async def attempts(self, application: str) -> Rows:
        return await self._of(attempts, application)

    async def verdicts(self, application: str) -> Rows:
        return await self._of(verdicts, application)

    async def parked(self, application: str) -> Rows:
        return await self._of(parked, application)

    async def cancels(self, application: str) -> Rows:
        return await self._of(cancels, application)

    async def dead_letters(self, application: str) -> Rows:
        return await self._of(dead_letters, application)

    async def count(self, table: Table, application: str) -> int:
        statement = select(func.count()).select_from(table).where(_belongs(table, application))
        return int((await self._rows(statement))[0][0])

    async def workers(self) -> Rows:
        return await self._rows(select(workers))

    async def audit_entries(self, application: str) -> list[dict[str, Any]]:
        rows = await self._rows(select(audit.c.entry))
        return [row.entry for row in rows if row.entry.get("application") == application]

    async def broken_chains(self) -> list[tuple[str, int]]:
        """Partitions whose audit chain does not hold, or does not end where its position says."""
        heads = await self._rows(select(positions))
        rows = await self._rows(select(audit).order_by(audit.c.topic, audit.c.partition, audit.c.position))
        broken = []
        for head in heads:
            links = [
                chain.Link(row.position, row.entry, row.hash)
                for row in rows
                if (row.topic, row.partition) == (head.topic, head.partition)
            ]
            last = links[-1].hash if links else chain.GENESIS
            if chain.verify(links) is not None or (len(links), last) != (head.chain_length, head.chain_head):
                broken.append((head.topic, head.partition))
        return broken

    async def project(self, application: str) -> Row[Any]:
        statement = select(projects).join_from(
            projects, applications, applications.c.project_id == projects.c.id
        )
        (row,) = await self._rows(statement.where(applications.c.name == application))
        return row

    async def holds(self, application: str) -> dict[str, str]:
        """At the gate, of all projects of the application's organization: hold id and what is held."""
        return await self._gate(application, "holds")

    async def counters(self, application: str) -> dict[str, int]:
        """Dollars at the gate, of its project: `d:<day>:spent` and `d:<day>:held`."""
        node = (await self.project(application)).id
        counters: dict[str, int] = {}
        for name, numbers in (await self._gate(application, f"node:p{node}")).items():
            if name.startswith("d:"):
                spent, held, *_ = map(int, numbers.split())
                counters |= {f"{name}:spent": spent, f"{name}:held": held}
        return counters

    async def _gate(self, application: str, name: str) -> dict[str, str]:
        organization = (await self.project(application)).organization_id
        client = Redis.from_url(self._settings.redis.url.get_secret_value(), decode_responses=True)
        try:
            found = await client.hgetall(f"{self._settings.redis.prefix}:{{o{organization}}}:{name}")
            return {str(field): str(content) for field, content in found.items()}
        finally:
            await client.aclose()

    async def _of(self, table: Table, application: str) -> Rows:
        return await self._rows(select(table).where(_belongs(table, application)))

    async def _rows(self, statement: Any) -> Rows:
        database = await Database.open(self._settings.database)
        try:
            async with database.connect() as connection:
                return (await connection.execute(statement)).all()
        finally:
            await database.close()


def _belongs(table: Table, application: str) -> ColumnElement[bool]:
    named = select(applications.c.id).where(applications.c.name == application).scalar_subquery()
    return table.c.application_id == named
