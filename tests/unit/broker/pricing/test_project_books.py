from typing import Any

import pytest

from broker.errors import JobRefused
from broker.identity.directory import Project, ProjectSettings
from broker.pricing.book import ModelPrice, PriceBook
from broker.pricing.project_books import ProjectBooks
from schemas.terms import Rates

SHIPPED = PriceBook.load()


def price(model: str, rate: int) -> ModelPrice:
    rates = Rates(input=rate, cached_input=rate, cache_write=rate, output=rate)
    return ModelPrice(model=model, provider="own", endpoint="/v1/chat/completions", rates=rates)


def project(number: int, *prices: ModelPrice, **settings: Any) -> Project:
    return Project(number, 1, f"p{number}", ProjectSettings(prices=prices, **settings))


def test_a_project_without_prices_has_the_book_itself() -> None:
    assert ProjectBooks(SHIPPED).of(project(1)) is SHIPPED


def test_a_project_s_prices_come_first_and_its_neighbours_do_not_see_them() -> None:
    books = ProjectBooks(SHIPPED)
    own = books.of(project(1, price("in-house", 5), price("gpt-4o-mini", 7)))
    assert own.price("in-house").rates.input == 5
    assert own.price("gpt-4o-mini").rates.input == 7
    assert own.price("gpt-4o") is SHIPPED.price("gpt-4o")
    other = books.of(project(2, price("in-house", 9)))
    assert other.price("in-house").rates.input == 9
    assert other.price("gpt-4o-mini") is SHIPPED.price("gpt-4o-mini")
    with pytest.raises(JobRefused):
        books.of(project(3)).price("in-house")


def test_the_versions_tell_them_apart() -> None:
    books = ProjectBooks(SHIPPED)
    one, other = books.of(project(1, price("m", 1))).version, books.of(project(2, price("m", 2))).version
    assert len({SHIPPED.version, one, other}) == 3
    assert one.startswith(f"{SHIPPED.version}+")


def test_a_book_is_made_once_a_reading_of_the_project() -> None:
    books, first = ProjectBooks(SHIPPED), project(1, price("m", 1))
    made = books.of(first)
    assert books.of(first) is made
    assert books.of(first._replace(name="renamed")) is made


def test_a_change_of_prices_is_followed() -> None:
    books = ProjectBooks(SHIPPED)
    books.of(project(1, price("m", 1)))
    assert books.of(project(1, price("m", 2))).price("m").rates.input == 2
    assert books.of(project(1)) is SHIPPED
    assert books.of(project(1, price("m", 3))).price("m").rates.input == 3
