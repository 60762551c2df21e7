"""Which target serves a model. Routing is data: it follows from the settings alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from broker.settings import ProviderTarget

_MODELS_KEPT = 256


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    """Of the section `providers.<name>`."""
    model: str
    """What the target calls the model."""
    region: str | None = None
    """Its label; None lies in no region."""


class Routes:
    """Where several targets name a model, the first in the settings serves it, of those in the regions that a
    job may go to.

    A target without a list of models serves every model that no target names.
    """

    def __init__(self, targets: Mapping[str, ProviderTarget]) -> None:
        self._named: dict[str, list[Target]] = {}
        for name, target in targets.items():
            for asked, own in _models(target):
                self._named.setdefault(asked, []).append(Target(name, own, target.region))
        self._rest = [(name, target.region) for name, target in targets.items() if not target.models]
        self._serving = lru_cache(maxsize=_MODELS_KEPT)(self._find)

    def target(self, model: str, regions: Collection[str] | None = None) -> Target | None:
        """`regions`: labels that policy allows; None allows every target, also one without a label."""
        return next(
            (each for each in self._serving(model) if regions is None or each.region in regions), None
        )

    def regions(self, model: str) -> tuple[str, ...]:
        """The labels of the targets that serve it, sorted."""
        return tuple(sorted({each.region for each in self._serving(model) if each.region is not None}))

    def _find(self, model: str) -> Sequence[Target]:
        named = self._named.get(model)
        return [Target(name, model, region) for name, region in self._rest] if named is None else named


def _models(target: ProviderTarget) -> Iterator[tuple[str, str]]:
    if isinstance(target.models, dict):
        yield from target.models.items()
    else:
        yield from ((model, model) for model in target.models)
