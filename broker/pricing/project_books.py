"""The price book as each project sees it."""

from typing import NamedTuple

from broker.identity.directory import Project
from broker.pricing.book import ModelPrice, PriceBook


class _Made(NamedTuple):
    prices: tuple[ModelPrice, ...]
    book: PriceBook


class ProjectBooks:
    """One book for all, under the prices of each project's own.

    A project's book is made when its prices are first seen and kept until they change: the directory gives
    the same settings again until it reads a project anew.
    """

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._made: dict[int, _Made] = {}

    @property
    def version(self) -> str:
        """Of the book for all."""
        return self._book.version

    def of(self, project: Project) -> PriceBook:
        prices = project.settings.prices
        if not prices:
            return self._book
        made = self._made.get(project.id)
        if made is None or made.prices is not prices:
            made = self._made[project.id] = _Made(prices, self._book.with_overrides(prices))
        return made.book
