"""The price book, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.pricing.book import SHIPPED, ModelPrice, PriceBook
from tests.unit.headworks.cli.conftest import Invoke

RATE = 3_000_000_000
OWN = {
    "model": "in-house",
    "provider": "own",
    "endpoint": "/v1/chat/completions",
    "rates": {"input": RATE, "cached_input": RATE, "cache_write": RATE, "output": 2 * RATE},
    "input_bound": {"kind": "utf8_bytes"},
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.json"
    path.write_text(json.dumps([OWN]))
    return path


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of the installation's own, named in its settings."""
    path = tmp_path / "prices.json"
    path.write_bytes(SHIPPED.read_bytes())
    monkeypatch.setenv("HEADWORKS_PRICES", str(path))
    return path


def _read(invoke: Invoke, command: str) -> Any:
    result = invoke(f"prices {command} --json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_all_models_are_listed(invoke: Invoke) -> None:
    shipped = PriceBook.load()
    listed = _read(invoke, "list")
    assert [each["model"] for each in listed] == [price.model for price in shipped.models]
    assert {each["version"] for each in listed} == {shipped.version}


def test_one_model_by_name_or_alias(invoke: Invoke) -> None:
    [one] = _read(invoke, "list --model gpt-4o-2024-11-20")
    assert (one["model"], one["rates.input"], one["rates.cached_input"]) == ("gpt-4o", "$2.50", "$1.25")
    result = invoke("prices list --model gpt-4o")
    assert result.stdout.splitlines()[1].split() == [
        "gpt-4o", "openai", "$2.50", "$1.25", "$2.50", "$10.00", "utf8_bytes",
    ]  # fmt: skip
    assert result.stderr == f"version {PriceBook.load().version}\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("list --model none", "no price of a model none"),
        ("list --book none", "no price book none"),
        ("diff 2026-01-01.000000000000", "no price book 2026-01-01.000000000000"),
    ],
)
def test_what_is_not_there(invoke: Invoke, command: str, told: str) -> None:
    result = invoke(f"prices {command}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr


def test_own_prices_come_into_the_book_and_the_one_before_is_kept(
    invoke: Invoke, own: Path, book: Path
) -> None:
    before = PriceBook.load()
    result = invoke(f"prices import --from {own}")
    assert result.exit_code == 0, result.output
    after = PriceBook.load(book)
    assert after.price("in-house") == ModelPrice.model_validate(OWN)
    assert after.price("gpt-4o") == before.price("gpt-4o")
    assert "in-house  model  -       $3.00 in, $6.00 out" in result.stdout
    assert after.version in result.stderr
    assert _read(invoke, f"diff {before.version}") == [
        {"model": "in-house", "field": "model", "before": None, "after": "$3.00 in, $6.00 out"}
    ]
    [gone] = _read(invoke, f"diff {after.version} {before.version} --model in-house")
    assert (gone["before"], gone["after"]) == ("$3.00 in, $6.00 out", None)
    assert _read(invoke, f"diff {after.version} {before.version} --model gpt-4o") == []
    assert len(_read(invoke, f"list --book {before.version}")) == len(before.models)


def test_a_dry_run_writes_nothing(invoke: Invoke, own: Path, book: Path) -> None:
    result = invoke(f"prices import --from {own} --dry-run")
    assert result.exit_code == 0, result.output
    assert "in-house" in result.stdout
    assert book.read_bytes() == SHIPPED.read_bytes()
    assert list(book.parent.glob("prices.*.json")) == []


def test_a_new_book_is_made_where_it_is_said(invoke: Invoke, own: Path, tmp_path: Path) -> None:
    output = tmp_path / "made.json"
    result = invoke(f"prices import --from {own} --output {output}")
    assert result.exit_code == 0
    assert "Who imported it is not on record: the database has no tables yet" in result.stderr
    assert PriceBook.load(output).by_name.keys() - PriceBook.load().by_name.keys() == {"in-house"}


def test_the_data_of_genai_prices_make_the_book_anew(invoke: Invoke, own: Path, book: Path) -> None:
    day = json.loads(SHIPPED.read_text())["taken_on"]
    assert invoke(f"prices import --from {own}").exit_code == 0
    result = invoke(f"prices import --date {day}")
    assert result.exit_code == 0, result.output
    assert book.read_bytes() == SHIPPED.read_bytes()
    assert "in-house" in result.stdout


def test_where_to_write_must_be_said(invoke: Invoke, own: Path) -> None:
    result = invoke(f"prices import --from {own}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "say where" in result.stderr


def test_a_file_that_holds_no_prices_changes_nothing(invoke: Invoke, own: Path, book: Path) -> None:
    own.write_text('[{"model": "m"}]')
    result = invoke(f"prices import --from {own}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "price_book_invalid" in result.stderr
    assert book.read_bytes() == SHIPPED.read_bytes()


def test_books_that_do_not_differ(invoke: Invoke, book: Path) -> None:
    result = invoke(f"prices diff {book}")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("No difference.\n")
