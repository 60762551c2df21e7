"""An organization with charges that were estimated, a gate that counts them, and statements about them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fakeredis import FakeAsyncRedis
from sqlalchemy import insert, select

from broker.ops.charge_prices import ChargePrices
from broker.ops.ledger import verify
from broker.ops.reconciling import Checked, Reconciling
from broker.ops.recounting import count_in
from broker.pricing.book import SHIPPED, PriceBook
from broker.quota.budget import Budget
from broker.quota.calendar import DAY_MS, MINUTE_MS
from broker.quota.counters import Counters, NodeOf
from broker.quota.gate import ReserveRequest, Settlement, StartRequest
from broker.quota.ledger_source import LedgerSource
from broker.quota.redis_gate import RedisGate
from broker.quota.self_opening import SelfOpeningGate
from broker.statements.spool import Spool
from broker.store.attempts import Attempts
from broker.store.bulk import insert_rows
from broker.store.database import Database
from broker.store.estimated import Estimated, EstimatedRow
from broker.store.ledger_check import Difference
from broker.store.settlement import Settlements
from broker.store.settlement_rows import charge_rows
from broker.store.tables.corrections import corrections
from broker.store.tables.identity import applications, keys, organizations, projects
from broker.store.tables.ledger import charges
from schemas.state import Hold
from tests.contracts.quota.harness import granted
from tests.contracts.store.builders import charge, intent, settle, settlement, state

ORGANIZATION, PROJECT, KEY = 2, 3, "key-1"
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
BUDGET = Budget(ORGANIZATION, PROJECT, KEY)
HELD_NANODOLLARS, HELD_TOKENS = 9_000_000, 150
BOOK = PriceBook.load(SHIPPED)


def job(number: int) -> UUID:
    return UUID(int=number)


async def tenants(database: Database) -> None:
    made = {"created_ms": 0, "settings": {}}
    rows: list[tuple[Any, dict[str, Any]]] = [
        (organizations, {"id": ORGANIZATION, "name": "acme", **made}),
        (projects, {"id": PROJECT, "organization_id": ORGANIZATION, "name": "web", **made}),
        (applications, {"id": 1, "project_id": PROJECT, "name": "shop", "created_ms": 0}),
        (keys, {"id": KEY, "application_id": 1, "secret_wrapped": b"", **made}),
    ]
    async with database.begin() as connection:
        for table, row in rows:
            await connection.execute(insert(table).values(row))


@dataclass
class Desk:
    database: Database
    redis: FakeAsyncRedis
    gate: RedisGate
    offset: int = 0

    def __post_init__(self) -> None:
        self.prices = ChargePrices(self.database, SHIPPED)

    @property
    def opening(self) -> SelfOpeningGate:
        return SelfOpeningGate(self.gate, LedgerSource(self.database), lambda: None)

    async def start(self, number: int) -> Hold:
        """A hold, started, of an attempt that is on record."""
        request = ReserveRequest(f"{number:032x}", BUDGET, HELD_NANODOLLARS, 100, 50, 60_000)
        (answer,) = await self.opening.reserve([request])
        hold = granted(answer)
        await self.opening.start([StartRequest(hold, BUDGET)])
        row = intent(job_id=job(number), project_id=PROJECT, hold=hold, started_ms=NOON_MS)
        await Attempts(self.database).begin([row])
        return hold

    async def charge(self, number: int, **fields: Any) -> None:
        """A job that was charged by its hold; `fields` of the charge."""
        hold = fields.pop("hold", None) or await self.start(number)
        estimated: dict[str, Any] = {
            "hold": hold,
            "estimated": True,
            "usage": None,
            "nanodollars": hold.nanodollars,
            "reason": "usage_missing",
            "price_version": BOOK.version,
        }
        paid = charge(**estimated | fields)
        of = state(job_id=job(number), organization_id=ORGANIZATION, project_id=PROJECT, charges=(paid,))
        await settle(Settlements(self.database), settlement(self.offset, of))
        self.offset += 1
        spent = Settlement(hold, ORGANIZATION, PROJECT, KEY, paid.nanodollars, paid.tokens)
        await self.opening.settle([spent])

    async def insert(self, number: int) -> None:
        """As `charge`, past the gate."""
        hold = Hold(
            id=f"{number:032x}",
            nanodollars=HELD_NANODOLLARS,
            input_tokens=100,
            output_tokens=50,
            day=NOON_MS // DAY_MS,
            minute=NOON_MS // MINUTE_MS,
        )
        paid = charge(
            hold=hold, estimated=True, usage=None, nanodollars=HELD_NANODOLLARS, price_version=BOOK.version
        )
        of = state(job_id=job(number), organization_id=ORGANIZATION, project_id=PROJECT, charges=(paid,))
        async with self.database.begin() as connection:
            await insert_rows(connection, charges, list(charge_rows(settlement(0, of))))

    async def check(
        self, content: bytes, spool: Spool, *, amends: bool = False
    ) -> tuple[Reconciling, Checked]:
        work = Reconciling(self.database, self.prices, amends=amends)
        return work, await work.check(io.BytesIO(content), spool)

    async def reconcile(
        self, content: bytes, *, amends: bool = False, reference: str | None = None, counts: bool = True
    ) -> Checked:
        """As the command does. Without `counts` as one that dies before the gate is told."""
        with Spool() as spool:
            work, checked = await self.check(content, spool, amends=amends)
            await work.write(checked, spool, reference, self.count if counts else self.nothing)
        return checked._replace(summary=work.written)

    async def count(self) -> None:
        await count_in(self.database, self.opening)

    async def nothing(self) -> None:
        pass

    async def counters(self, node: str = "o") -> Counters:
        (found,) = await self.opening.counters([NodeOf(ORGANIZATION, node)])
        return found

    async def found(self, patience_s: float = 0) -> list[Difference]:
        looked = verify(self.database, self.gate, {ORGANIZATION: "UTC"}, patience_s=patience_s)
        return [each async for each in looked]

    async def ledger_found(self) -> list[Difference]:
        """Without the gate."""
        return [each async for each in verify(self.database, None, {})]

    async def spent(self) -> set[tuple[int, int]]:
        """Nanodollars and tokens that each node counts, of the day and of the month."""
        found = [await self.counters(node) for node in ("o", f"p{PROJECT}", f"k{KEY}")]
        windows = [window for each in found for window in (each.of_day, each.of_month)]
        return {(each.nanodollars_spent, each.tokens_spent) for each in windows}

    async def waiting(self, **which: Any) -> list[EstimatedRow]:
        return [row async for rows in Estimated(self.database).waiting(**which) for row in rows]

    async def charges(self) -> str:
        async with self.database.connect() as connection:
            found = (await connection.execute(select(charges))).mappings()
            return json.dumps([dict(row) for row in found], default=str)

    async def rows(self) -> list[Mapping[str, Any]]:
        order = (corrections.c.reconciliation_id, corrections.c.job_id)
        async with self.database.connect() as connection:
            found = await connection.execute(select(corrections).order_by(*order))
            return [dict(row) for row in found.mappings()]


def statement(*rows: Sequence[Any], header: str = "job,run,attempt,dollars") -> bytes:
    lines = (",".join("" if cell is None else str(cell) for cell in row) for row in rows)
    return "\n".join([header, *lines, ""]).encode()
