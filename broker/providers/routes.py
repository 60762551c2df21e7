"""Which target serves a model. Routing is data: it follows from the settings alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.settings import ProviderTarget


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    """Of the section `providers.<name>`."""
    model: str
    """What the target calls the model."""


class Routes:
    """Where several targets name a model, the first in the settings serves it.

    A target without a list of models serves every model that no target names.
    """

    def __init__(self, targets: Mapping[str, ProviderTarget]) -> None:
        self._named: dict[str, Target] = {}
        for name, target in targets.items():
            for asked, own in _models(target):
                self._named.setdefault(asked, Target(name, own))
        self._rest = next((name for name, target in targets.items() if not target.models), None)

    def target(self, model: str) -> Target | None:
        named = self._named.get(model)
        if named is not None or self._rest is None:
            return named
        return Target(self._rest, model)


def _models(target: ProviderTarget) -> Iterator[tuple[str, str]]:
    if isinstance(target.models, dict):
        yield from target.models.items()
    else:
        yield from ((model, model) for model in target.models)
