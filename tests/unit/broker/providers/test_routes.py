from typing import Any

from broker.providers.routes import Routes, Target
from broker.settings import ProviderTarget


def target(models: Any) -> ProviderTarget:
    return ProviderTarget(base_url="http://127.0.0.1:1", models=models)


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
