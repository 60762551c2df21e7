"""However a bill is broken down, it comes to what the ledger has, to the nano-dollar."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import delete, insert

from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.tables.identity import applications, organizations, projects
from broker.store.tables.ledger import charges
from broker.store.usage import BILL_BY, BillBy, Usage
from headworks.cli.usage import write_csv

LABELS = st.none() | st.sampled_from(["=1", "+", "-x", "@y", "a;b", 'c"', "ann"])
CHARGES = st.fixed_dictionaries(
    {
        "application_id": st.integers(1, 3),
        "organization_id": st.integers(1, 2),
        "project_id": st.integers(1, 3),
        "key_id": st.sampled_from(["k1", "k2"]),
        "model": st.sampled_from(["small", "=large"]),
        "target": st.sampled_from(["own", "other"]),
        "lane": st.sampled_from(["bulk", "standard"]),
        "department": LABELS,
        "feature": LABELS,
        "user": LABELS,
        "nanodollars": st.integers(0, 2**53),
        "input_tokens": st.none() | st.integers(0, 10**6),
        "output_tokens": st.none() | st.integers(0, 10**6),
        "day": st.integers(20_000, 20_100),
        "month": st.integers(2024 * 12, 2026 * 12),
    }
)
FIXED: dict[str, Any] = {"run": 1, "attempt": 1, "verdict": "answered", "hold_id": "h", "estimated": False}
FIXED |= {
    "hold_nanodollars": 2**53,
    "tokens": 0,
    "price_version": "v",
    "minute": 0,
    "latency_ms": 1,
    "at_ms": 0,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some of what charges name is there, some is gone; two projects have one name."""
    path: Path = tmp_path_factory.mktemp("bills") / "headworks.db"
    made = f"sqlite+aiosqlite:///{path}"
    asyncio.run(_prepare(made))
    return made


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        yield database
    finally:
        await database.close()


async def _prepare(url: str) -> None:
    await upgrade(url)
    async with _opened(url) as database, database.begin() as connection:
        for number, name in ((1, "acme"), (2, "bolt")):
            row = {"name": name, "created_ms": 0}
            await connection.execute(insert(organizations).values(id=number, **row))
            shared = {"organization_id": number, "name": "web", "settings": {}, "created_ms": 0}
            await connection.execute(insert(projects).values(id=number, **shared))
        await connection.execute(insert(applications).values(id=1, project_id=1, name="shop", created_ms=0))


async def _bill(url: str, rows: Sequence[dict[str, Any]], by: Sequence[BillBy]) -> list[dict[str, Any]]:
    async with _opened(url) as database:
        async with database.begin() as connection:
            await connection.execute(delete(charges))
            for number, row in enumerate(rows):
                await connection.execute(insert(charges).values(FIXED | row | {"job_id": UUID(int=number)}))
        bill = await Usage(database).bill(by)
    return [dict(zip(by, row.labels, strict=True)) | {"nanodollars": row.nanodollars} for row in bill]


@profile(max_examples=25)
@given(
    st.lists(CHARGES, max_size=12), st.lists(st.sampled_from(BILL_BY), min_size=1, max_size=12, unique=True)
)
def test_every_bill_adds_up_to_the_ledger(url: str, rows: list[dict[str, Any]], by: list[BillBy]) -> None:
    bill = asyncio.run(_bill(url, rows, by))
    assert sum(row["nanodollars"] for row in bill) == sum(row["nanodollars"] for row in rows)
    table = io.StringIO()
    write_csv(table, [*by, "nanodollars"], bill)
    read = list(csv.reader(io.StringIO(table.getvalue())))[1:]
    assert sum(int(row[-1]) for row in read) == sum(row["nanodollars"] for row in rows)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in read for cell in row)
