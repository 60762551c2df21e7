from typing import Any

import pytest
from pydantic import ValidationError

from broker.providers.routes import Routes, Target
from broker.settings import ProviderTarget


def target(models: Any, region: str | None = None) -> ProviderTarget:
    return ProviderTarget(base_url="http://127.0.0.1:1", models=models, region=region)


def test_a_list_names_models_as_the_target_does() -> None:
    routes = Routes({"a": target(["m"])})

    assert routes.target("m") == Target("a", "m")
    assert routes.target("n") is None


def test_a_map_gives_the_targets_own_names() -> None:
    routes = Routes({"a": target({"gpt-4o": "deployment-7"})})

    assert routes.target("gpt-4o") == Target("a", "deployment-7")
    assert routes.target("deployment-7") is None


def test_a_target_without_models_serves_what_no_other_names() -> None:
    routes = Routes({"rest": target([]), "a": target(["m"])})

    assert routes.target("m") == Target("a", "m")
    assert routes.target("n") == Target("rest", "n")


def test_the_first_of_several_serves() -> None:
    routes = Routes({"b": target(["m"]), "a": target(["m"]), "rest": target([]), "more": target([])})

    assert routes.target("m") == Target("b", "m")
    assert routes.target("n") == Target("rest", "n")


def test_without_targets_nothing_is_served() -> None:
    assert Routes({}).target("m") is None


def test_the_first_in_an_allowed_region_serves_a_model() -> None:
    routes = Routes({"a": target(["m"], "us"), "b": target(["m"], "eu"), "c": target(["m"], "eu")})
    assert routes.target("m") == Target("a", "m", "us")
    assert routes.target("m", ("eu",)) == Target("b", "m", "eu")
    assert routes.target("m", ("us", "eu")) == Target("a", "m", "us")
    assert routes.target("m", ("ap",)) is None
    assert routes.target("m", ()) is None
    assert routes.regions("m") == ("eu", "us")


def test_a_target_without_a_region_lies_in_none() -> None:
    routes = Routes({"a": target(["m"]), "rest": target([], "eu")})
    assert routes.target("m") == Target("a", "m")
    assert routes.target("m", ("eu",)) is None
    assert routes.regions("m") == ()


def test_the_rest_serves_what_no_target_names_within_its_region() -> None:
    routes = Routes({"one": target([], "us"), "two": target([], "eu")})
    assert routes.target("m", ("eu",)) == Target("two", "m", "eu")
    assert routes.regions("m") == ("eu", "us")


def test_a_region_is_written_as_rules_write_it() -> None:
    with pytest.raises(ValidationError):
        target([], "EU West")


def test_what_no_target_names_is_found_again_as_it_was() -> None:
    routes = Routes({"rest": target([], "eu"), "a": target(["m"])})
    assert [routes.target("x"), routes.target("y"), routes.target("x")] == [
        Target("rest", "x", "eu"),
        Target("rest", "y", "eu"),
        Target("rest", "x", "eu"),
    ]
