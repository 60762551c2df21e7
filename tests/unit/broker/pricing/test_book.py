import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from broker.errors import JobRefused, PriceBookInvalid
from broker.pricing.book import ModelPrice, PriceBook, version_of
from schemas.reasons import Refusal
from schemas.terms import RATE_MAX, Rates

RATES = {"input": 100, "cached_input": 50, "cache_write": 125, "output": 400}


def model(name: str = "m", **fields: Any) -> dict[str, Any]:
    return {"model": name, "provider": "p", "endpoint": "/v1/chat/completions", "rates": RATES, **fields}


def book(*models: dict[str, Any], **fields: Any) -> dict[str, Any]:
    contents = {
        "source": {"name": "hand", "version": "1", "license": "MIT"},
        "taken_on": "2026-01-02",
        "models": list(models),
        **fields,
    }
    if "version" not in contents:
        prices = [ModelPrice.model_validate({**each, "input_bound": None}) for each in models]
        contents["version"] = version_of(date(2026, 1, 2), prices)
    return contents


def written(tmp_path: Path, contents: Any) -> Path:
    path = tmp_path / "prices.json"
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path


def refusal(tmp_path: Path, contents: Any) -> str:
    path = written(tmp_path, contents)
    with pytest.raises(PriceBookInvalid) as caught:
        PriceBook.load(path)
    assert caught.value.code == "price_book_invalid"
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_price_is_found_by_name_and_by_alias(tmp_path: Path) -> None:
    loaded = PriceBook.load(written(tmp_path, book(model("a", aliases=["a-2026"]), model("b"))))

    assert loaded.price("a-2026") is loaded.price("a")
    assert loaded.price("b").rates.output == 400


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    loaded = PriceBook.load(written(tmp_path, book(model("a"))))

    with pytest.raises(JobRefused) as caught:
        loaded.price("A")
    assert caught.value.reason is Refusal.UNKNOWN_MODEL


def test_the_version_tells_the_date_and_the_contents(tmp_path: Path) -> None:
    cheap = PriceBook.load(written(tmp_path, book(model("a"), model("b"))))
    turned = PriceBook.load(written(tmp_path, book(model("b"), model("a"))))
    dear = PriceBook.load(written(tmp_path, book(model("a"), model("b", rates={**RATES, "output": 401}))))

    assert cheap.version.startswith("2026-01-02.")
    assert cheap.version == turned.version
    assert cheap.version != dear.version


def test_contents_that_were_changed_under_a_version_are_refused_with_the_right_one(tmp_path: Path) -> None:
    contents = book(model("a"))
    right = contents["version"]

    message = refusal(tmp_path, {**contents, "version": "2026-01-02.000000000000"})

    assert right in message


def test_an_input_bound_may_be_named_once_for_many_models(tmp_path: Path) -> None:
    bound = {"kind": "utf8_bytes", "message_tokens": 4}
    price = ModelPrice.model_validate(model(input_bound=bound))
    contents = book(
        model(input_bound="short"),
        input_bounds={"short": bound},
        version=version_of(date(2026, 1, 2), [price]),
    )

    assert PriceBook.load(written(tmp_path, contents)).price("m") == price


@pytest.mark.parametrize(
    ("contents", "hint"),
    [
        ("{", "Expecting"),
        ("[]", "the file"),
        ({}, "models"),
        (book(model("a"), modles=[]), "modles"),
        (book(model("a"), model("a"), version="x"), "the name a stands for two prices"),
        (book(model("a"), model("b", aliases=["a"]), version="x"), "the name a stands for two prices"),
        (book(model(input_bound="nowhere"), version="x"), "no input bound is named nowhere"),
        (book(model(input_bound="x"), version="x", input_bounds=[]), "input_bounds"),
        (book(model(input_bound={"kind": "context_window"}), version="x"), "given in request_tokens"),
        (book(model(rates={**RATES, "input": 0.5}), version="x"), "models.0.rates.input"),
        (book(model(rates={**RATES, "input": 1.0}), version="x"), "models.0.rates.input"),
        (book(model(rates={**RATES, "input": True}), version="x"), "models.0.rates.input"),
        (book(model(rates={**RATES, "input": "1"}), version="x"), "models.0.rates.input"),
        (book(model(rates={**RATES, "input": -1}), version="x"), "models.0.rates.input"),
        (book(model(rates={**RATES, "input": RATE_MAX + 1}), version="x"), "models.0.rates.input"),
        (book(model(rates={"input": 1}), version="x"), "models.0.rates.output"),
        (book(version="x"), "models"),
    ],
)
def test_a_bad_book_is_refused_with_the_place(tmp_path: Path, contents: Any, hint: str) -> None:
    assert hint in refusal(tmp_path, contents)


def test_a_book_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceBookInvalid, match="No such file"):
        PriceBook.load(tmp_path / "none.json")


def test_tiers_that_do_not_ascend_are_refused() -> None:
    tiers = [{"above_input_tokens": above, "rates": RATES} for above in (20, 10)]

    with pytest.raises(ValidationError, match="must ascend"):
        ModelPrice.model_validate(model(tiers=tiers))


def test_a_tier_holds_for_inputs_above_its_threshold() -> None:
    high = {"input": 10, "cached_input": 60, "cache_write": 1, "output": 900}
    price = ModelPrice.model_validate(model(tiers=[{"above_input_tokens": 10, "rates": high}]))

    assert price.rates_at(10) == price.rates_up_to(10) == Rates(**RATES)
    assert price.rates_at(11) == Rates(**high)
    assert price.rates_up_to(11) == Rates(input=100, cached_input=60, cache_write=125, output=900)


def test_overrides_come_first_and_show_in_the_version(tmp_path: Path) -> None:
    base = PriceBook.load(written(tmp_path, book(model("a"), model("b"))))
    own = ModelPrice.model_validate(model("local", aliases=["b"], rates={**RATES, "output": 7}))

    changed = base.with_overrides([own])

    assert changed.price("local") is changed.price("b") is own
    assert changed.price("a") is base.price("a")
    assert changed.version.startswith(f"{base.version}+")
    assert len(changed.version) <= 64
    assert base.with_overrides([]) is base
    assert base.price("b") is not own
