"""The record of operations tells who imported a price book, and since when workers go by it."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from broker.errors import PriceBookInvalid
from broker.ops import prices
from broker.pricing.book import PriceBook
from broker.pricing.book_file import merged
from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.operations import Operation, latest


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    await upgrade(url)
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    yield opened
    await opened.close()


async def _entries(database: Database) -> list[Operation]:
    return [row.operation for row in await latest(database, 9)]


async def test_a_worker_leaves_an_entry_where_it_starts_with_another_book_than_the_last(
    database: Database,
) -> None:
    for version in ("one", "one", "two", "two", "one"):
        await prices.begin_use(database, version)
    entries = await _entries(database)
    assert {(entry.action, entry.subject) for entry in entries} == {("price_book.use", "prices")}
    versions = [(entry.before.get("version"), entry.after["version"]) for entry in entries]
    assert versions == [("two", "one"), ("one", "two"), (None, "one")]


async def test_an_import_in_between_does_not_count_as_use(database: Database, tmp_path: Path) -> None:
    contents = merged(PriceBook.load(), [], date(2026, 1, 31))
    await prices.begin_use(database, "one")
    await prices.replace(database, tmp_path / "prices.json", contents, None)
    await prices.begin_use(database, "one")
    used, imported = reversed(await _entries(database))
    assert (used.action, imported.action) == ("price_book.use", "price_book.import")
    assert imported.after == {"version": contents["version"], "file": str(tmp_path / "prices.json")}
    assert PriceBook.load(tmp_path / "prices.json").version == contents["version"]


async def test_an_import_that_fails_leaves_no_entry(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("no book")
    with pytest.raises(PriceBookInvalid):
        await prices.replace(database, path, merged(PriceBook.load(), [], date(2026, 1, 31)), "old")
    assert (await _entries(database), path.read_text()) == ([], "no book")
