"""Whether the books agree, from the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from pydantic import SecretStr
from sqlalchemy import update

from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.settlement import Settlements
from broker.store.tables.ledger import charges
from tests.contracts.store.builders import charge, intent, settle, settlement, state
from tests.unit.headworks.cli.conftest import Invoke


@pytest.fixture
def settled(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One job that was answered and charged long ago, and a Redis that counts nothing any more."""

    async def opened(*_: Any) -> RedisGate:
        return RedisGate.embedded(FakeAsyncRedis())

    monkeypatch.setenv("HEADWORKS_REDIS__URL", "redis://127.0.0.1:1")
    monkeypatch.setattr(RedisGate, "open", opened)
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    asyncio.run(_settle(url))
    return url


async def _settle(url: str) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        of = state(project_id=1, organization_id=1, charges=(charge(),))
        await Attempts(database).begin([intent(job_id=of.job_id, project_id=1)])
        await settle(Settlements(database), settlement(0, of))
    finally:
        await database.close()


async def _alter(url: str) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        async with database.begin() as connection:
            await connection.execute(update(charges).values(nanodollars=4_199))
    finally:
        await database.close()


def test_books_that_agree(settled: str, invoke: Invoke) -> None:
    result = invoke("ledger verify")
    assert (result.exit_code, result.stdout) == (0, "No difference.\n"), result.output
    assert result.stderr == (
        "compared: 4 audit entries, with their terminals and charges; Redis, of 1 organizations\n"
    )
    assert json.loads(invoke("ledger verify --json").stdout) == {
        "differences": [],
        "audit_entries": 4,
        "organizations": 1,
        "redis_compared": True,
    }


def test_of_an_embedded_redis_the_rest_is_compared_and_that_is_said(
    settled: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "memory://")
    result = invoke("ledger verify")
    assert (result.exit_code, result.stdout) == (0, "No difference.\n"), result.output
    assert result.stderr.endswith("; not Redis, which is embedded in another process\n")
    assert json.loads(invoke("ledger verify --json").stdout)["redis_compared"] is False
    asyncio.run(_alter(settled))
    assert invoke("ledger verify").exit_code == 1


def test_a_difference_is_named_and_ends_with_status_1(settled: str, invoke: Invoke) -> None:
    asyncio.run(_alter(settled))
    result = invoke("ledger verify")
    assert result.exit_code == 1
    assert "charges_less" in result.stdout
    assert "terminal says 4200 nanodollars, its charges 4199" in result.stdout
    result = invoke("ledger verify --json")
    (found,) = json.loads(result.stdout)["differences"]
    assert (result.exit_code, found["check"]) == (1, "charges_less")
