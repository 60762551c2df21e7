"""A book is written so that it can be read again, and none that was in use is lost."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from broker.errors import NotFound, PriceBookInvalid
from broker.pricing.book import SHIPPED, InputBound, ModelPrice, PriceBook, Source
from broker.pricing.book_file import document, find, merged, place_of, read_prices, write
from schemas.terms import Counting, Rates, Tier

DAY = date(2026, 1, 2)
SOURCE = Source(name="hand", version="1", license="MIT")
RATES = Rates(input=100, cached_input=50, cache_write=125, output=400)
BOUND = InputBound(kind="nfkc_utf8_bytes", message_tokens=4)


def price(model: str, **fields: Any) -> ModelPrice:
    known = {"provider": "p", "endpoint": "/v1/chat/completions", "rates": RATES}
    return ModelPrice(**{"model": model, **known, **fields})


FULL = price(
    "full",
    aliases=("full-2026",),
    rates=RATES.model_copy(update={"reasoning": 900}),
    tiers=(Tier(above_input_tokens=10, rates=RATES),),
    service_tiers={"batch": 50, "flex": 50, "priority": 200},
    counting=Counting(cached_input="beside", reasoning="beside"),
    input_bound=BOUND,
    encoding="o200k_base",
    reasoning_tokens_max=9,
)


def contents(*models: ModelPrice) -> dict[str, Any]:
    return document(models, {"short": BOUND}, SOURCE, DAY, None)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"

    assert write(path, contents(FULL, price("plain"))) is None

    book = PriceBook.load(path)
    assert book.models == (FULL, price("plain"))
    assert (book.source, book.taken_on, book.review_by) == (SOURCE, DAY, None)
    assert json.loads(path.read_text())["models"][0]["input_bound"] == "short"


def test_a_field_that_nobody_uses_changes_no_version() -> None:
    spelled_out = price("plain", tiers=(), service_tiers={}, reasoning_tokens_max=0, counting=Counting())

    assert contents(spelled_out)["version"] == contents(price("plain"))["version"]
    assert contents(price("plain", counting=FULL.counting))["version"] != contents(price("plain"))["version"]


def test_a_name_for_two_prices_is_not_written() -> None:
    with pytest.raises(PriceBookInvalid, match="stands for two"):
        contents(price("a"), price("b", aliases=("a",)))


def test_a_book_that_is_replaced_is_kept_under_its_version(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, contents(FULL))
    old, before = PriceBook.load(path), path.read_bytes()

    assert write(path, contents(FULL)) is None
    kept = write(path, contents(price("full")))

    assert kept == place_of(path, old.version) == tmp_path / f"prices.{old.version}.json"
    assert kept.read_bytes() == before
    assert find(old.version, path).price("full") == FULL
    assert find(PriceBook.load(path).version, path).price("full") == price("full")


def test_what_is_no_price_book_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('["mine"]')

    with pytest.raises(PriceBookInvalid):
        write(path, contents(FULL))
    assert path.read_text() == '["mine"]'


def test_a_book_is_found_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, contents(FULL))

    assert find(str(path), SHIPPED).price("full") == FULL


@pytest.mark.parametrize("named", ["2026-01-02.000000000000", "../prices", "none.json", ""])
def test_a_version_that_is_kept_nowhere_is_not_found(tmp_path: Path, named: str) -> None:
    path = tmp_path / "prices.json"
    write(path, contents(FULL))

    with pytest.raises(NotFound, match="no price book"):
        find(named, path)


# prices of one's own


def test_own_prices_take_the_place_of_those_of_the_same_model_and_come_last_else(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, contents(FULL, price("plain")))
    dear = price("full", rates=RATES.model_copy(update={"input": 999}))

    write(path, merged(PriceBook.load(path), (price("own", input_bound=BOUND), dear), date(2026, 3, 4)))

    book = PriceBook.load(path)
    assert [each.model for each in book.models] == ["full", "plain", "own"]
    assert book.price("full") == dear
    assert book.price("own").input_bound == BOUND
    assert book.version.startswith("2026-03-04.")


def test_own_prices_are_read_from_a_list_or_from_a_book(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    listed = [FULL.model_dump(mode="json")]
    path.write_text(json.dumps(listed))
    assert read_prices(path) == (FULL,)
    path.write_text(json.dumps({"models": listed}))
    assert read_prices(path) == (FULL,)
    path.write_text(json.dumps(contents(FULL)))
    assert read_prices(path) == (FULL,)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{", "neither a list"),
        ("5", "neither a list"),
        ("{}", "neither a list"),
        ("[" * 100_000, "neither a list"),
        ("[5]", "0: "),
        ('[{"model": "m"}]', "0.provider: "),
        ('{"models": [{"model": "m", "input_bound": "none"}]}', "neither a list"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)

    with pytest.raises(PriceBookInvalid, match=hint):
        read_prices(path)


def test_own_prices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceBookInvalid, match="No such file"):
        read_prices(tmp_path / "none.json")
