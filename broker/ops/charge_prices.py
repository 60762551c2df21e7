"""The terms that charges were made by, found again by the version that each of them names."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from broker.errors import NotFound
from broker.pricing import book_file
from broker.pricing.book import ModelPrice, PriceBook
from broker.statements.deciding import Charged
from broker.store.database import Database
from broker.store.operations import latest
from broker.store.tables.identity import organizations, projects
from schemas.terms import Terms

_OPERATIONS_MAX: Final = 10_000
_PRICES: Final = TypeAdapter(tuple[ModelPrice, ...])


class ChargePrices:
    """`current`: the price book in use, beside which older ones are kept. Each version is read once."""

    def __init__(self, database: Database, current: Path) -> None:
        self._database = database
        self._current = current
        self._books: dict[tuple[str, int], PriceBook | None] = {}

    async def terms(self, charge: Charged) -> Terms | None:
        """None where the book of that version is not there any more, or is without the model.

        Raises PriceBookInvalid, DatabaseUnavailable.
        """
        at = (charge.price_version, charge.project_id)
        if at not in self._books:
            self._books[at] = await self._book(*at)
        book = self._books[at]
        return None if book is None else book.by_name.get(charge.model)

    async def _book(self, version: str, project_id: int) -> PriceBook | None:
        base, _, own = version.partition("+")
        try:
            book = book_file.find(base, self._current)
        except NotFound:
            return None
        if not own:
            return book
        async for prices in self._own_prices(project_id):
            if (made := book.with_overrides(prices)).version == version:
                return made
        return None

    async def _own_prices(self, project_id: int) -> AsyncIterator[tuple[ModelPrice, ...]]:
        """A project's own prices, those of now and all that the chain of operations knows of."""
        name = organizations.c.name + "/" + projects.c.name
        of = select(name, projects.c.settings).join(organizations).where(projects.c.id == project_id)
        async with self._database.connect() as connection:
            row = (await connection.execute(of)).one_or_none()
        if row is None:
            return
        found: list[Any] = [row[1].get("prices")]
        for each in await latest(self._database, _OPERATIONS_MAX, row[0]):
            found += [each.operation.before.get("prices"), each.operation.after.get("prices")]
        for prices in filter(None, found):
            try:
                yield _PRICES.validate_python(prices)
            except ValidationError:
                continue  # in a form of long ago, which no version of now is made from
