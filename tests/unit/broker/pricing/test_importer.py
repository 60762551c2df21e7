import json
import subprocess
import sys
from datetime import UTC, date, time
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.types import (
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import ModelPrice as SourcePrice

from broker.errors import PriceBookInvalid
from broker.pricing import importer
from broker.pricing.book import SHIPPED, ModelPrice
from broker.pricing.book_file import write
from broker.pricing.imported_models import Imported
from schemas.terms import Rates

ROOT = SHIPPED.parents[1]
DAY = date(2026, 6, 15)
PLAIN = SourcePrice(input_mtok=Decimal("0.15"), output_mtok=Decimal("0.6"))


def info(prices: SourcePrice | list[ConditionalPrice], match: MatchLogic | None = None) -> ModelInfo:
    return ModelInfo(id="m", match=match or ClauseEquals("m"), prices=prices)


def imported(prices: SourcePrice | list[ConditionalPrice], *, embeddings: bool = False) -> ModelPrice:
    return importer._model_price("p", Imported("m", embeddings=embeddings), info(prices), DAY)


def test_the_book_in_the_tree_is_what_the_importer_writes(tmp_path: Path) -> None:
    day = date.fromisoformat(json.loads(SHIPPED.read_text())["taken_on"])
    output = tmp_path / "prices.json"

    assert write(output, importer.make_book(day)) is None

    assert output.read_text() == SHIPPED.read_text(), "import again: headworks prices import"


def test_prices_become_nanodollars_per_million_tokens() -> None:
    price = imported(SourcePrice(
        input_mtok=Decimal("0.15"), cache_read_mtok=Decimal("0.003625"), cache_write_mtok=Decimal("0.1875"),
        output_mtok=Decimal("0.6"),
    ))  # fmt: skip

    assert price.rates == Rates(
        input=150_000_000, cached_input=3_625_000, cache_write=187_500_000, output=600_000_000
    )


def test_without_a_price_of_its_own_cached_input_costs_as_much_as_other_input() -> None:
    assert imported(PLAIN).rates.cached_input == imported(PLAIN).rates.cache_write == 150_000_000


def test_a_price_of_reasoning_is_kept() -> None:
    source = SourcePrice(input_mtok=Decimal(1), output_mtok=Decimal(2), output_reasoning_mtok=Decimal(3))

    assert imported(source).rates.reasoning == 3 * 10**9
    assert imported(PLAIN).rates.reasoning is None
    assert imported(source, embeddings=True).rates.reasoning is None


def test_embeddings_cost_nothing_for_output() -> None:
    assert imported(PLAIN, embeddings=True).rates.output == 0
    assert imported(SourcePrice(input_mtok=Decimal("0.1")), embeddings=True).endpoint == "/v1/embeddings"


def test_tiers_are_kept() -> None:
    price = imported(SourcePrice(
        input_mtok=TieredPrices(base=Decimal(1), tiers=[Tier(200, Decimal(3)), Tier(100, Decimal(2))]),
        output_mtok=TieredPrices(base=Decimal(5), tiers=[Tier(100, Decimal(7))]),
    ))  # fmt: skip

    assert [tier.above_input_tokens for tier in price.tiers] == [100, 200]
    assert [rates.input // 10**9 for rates in map(price.rates_at, (100, 101, 201))] == [1, 2, 3]
    assert [rates.output // 10**9 for rates in map(price.rates_at, (100, 101, 201))] == [5, 7, 7]
    assert [rates.cached_input // 10**9 for rates in map(price.rates_at, (100, 101, 201))] == [1, 2, 3]


def flat(input_dollars: int, output_dollars: int) -> SourcePrice:
    return SourcePrice(input_mtok=Decimal(input_dollars), output_mtok=Decimal(output_dollars))


def test_the_price_of_the_day_is_taken_and_a_later_one_announced() -> None:
    tomorrow = date(2026, 6, 16)
    dated = [
        ConditionalPrice(prices=flat(1, 1)),
        ConditionalPrice(StartDateConstraint(DAY), prices=flat(2, 1)),
        ConditionalPrice(StartDateConstraint(tomorrow), prices=flat(9, 9)),
    ]

    assert imported(dated).rates.input == 2 * 10**9
    assert list(importer._announced(info(dated), DAY)) == [tomorrow]


def test_of_prices_that_differ_with_the_time_of_day_the_dearest_is_taken() -> None:
    night = TimeOfDateConstraint(time(1, tzinfo=UTC), time(4, tzinfo=UTC))
    timed = [ConditionalPrice(prices=flat(2, 3)), ConditionalPrice(night, prices=flat(5, 1))]

    assert (imported(timed).rates.input, imported(timed).rates.output) == (5 * 10**9, 3 * 10**9)


@pytest.mark.parametrize(
    ("prices", "hint"),
    [
        (SourcePrice(input_mtok=Decimal("0.0000000001"), output_mtok=Decimal(1)), "whole number"),
        (SourcePrice(input_mtok=Decimal("1." + "0" * 40 + "1"), output_mtok=Decimal(1)), "whole number"),
        (SourcePrice(input_mtok=Decimal(-1), output_mtok=Decimal(1)), "no price"),
        (SourcePrice(input_mtok=Decimal("NaN"), output_mtok=Decimal(1)), "no price"),
        (SourcePrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)), "no place"),
        (SourcePrice(input_mtok=Decimal(1)), "no price for its input or output"),
        (SourcePrice(output_mtok=Decimal(1)), "no price for its input or output"),
    ],
)
def test_what_the_book_cannot_hold_stops_the_import(prices: SourcePrice, hint: str) -> None:
    with pytest.raises(PriceBookInvalid, match=hint):
        imported(prices)


def test_a_name_that_the_source_prices_otherwise_stops_the_import() -> None:
    models = [info(PLAIN, ClauseStartsWith("m-small")), info(PLAIN, ClauseStartsWith("m"))]
    provider = Provider(id="p", name="P", api_pattern="", models=models)

    assert importer._find(provider, Imported("m", ("m-2026",))) is models[1]
    for name, alias in (("m", "m-small"), ("m", "other"), ("other", "m")):
        with pytest.raises(PriceBookInvalid, match="has not one price"):
            importer._find(provider, Imported(name, (alias,)))


def test_without_genai_prices_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)

    with pytest.raises(PriceBookInvalid, match="install genai-prices"):
        importer.make_book(DAY)


def test_nothing_but_the_import_needs_genai_prices() -> None:
    code = (
        "import sys; sys.modules['genai_prices'] = None;"
        "from broker.pricing import book, cost, estimate, importer;"
        "book.PriceBook.load()"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
