"""The learned integers, read once from model.json and checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection.features import FAMILIES, SIZE


class ModelBroken(ValueError):
    """The model file does not fit the code or the rules beside it."""


@dataclass(frozen=True, slots=True)
class Model:
    """Signed integers, `unit` of them to one unit of log odds."""

    unit: int
    bias: int
    rules: Mapping[str, int]
    marks: Mapping[str, int]
    family_min: int
    family_max: int
    """What one family of features may take off or add in a window: padding cannot outweigh a rule."""
    thresholds: Mapping[str, int]
    """Scores above which `fp_0_5`, `fp_1` and `fp_3` percent of honest texts of unseen sources lay."""
    weights: NDArray[np.int64]
    """By feature, SIZE of them."""


def load() -> Model:
    """Raises ModelBroken."""
    return parse(json.loads(files(__package__).joinpath("model.json").read_text()))


def parse(document: dict[str, object]) -> Model:
    """Raises ModelBroken when a part is missing or of the wrong kind."""
    try:
        return Model(
            unit=_whole(document["unit"]),
            bias=_whole(document["bias"]),
            rules=_wholes(document["rules"]),
            marks=_wholes(document["marks"]),
            family_min=_whole(document["family_min"]),
            family_max=_whole(document["family_max"]),
            thresholds=_wholes(document["thresholds"]),
            weights=_weights(document["weights"]),
        )
    except KeyError as missing:
        raise ModelBroken(f"{missing} is missing") from None


def _weights(found: object) -> NDArray[np.int64]:
    """Per family the features that weigh something, as distances from the one before, and their weights."""
    weights = np.zeros(SIZE, np.int64)
    if not isinstance(found, dict) or set(found) != set(FAMILIES):
        raise ModelBroken("weights are not those of the families of features")
    for family in FAMILIES:
        places = np.cumsum(np.array(found[family]["steps"], np.int64))
        if len(places) != len(found[family]["values"]) or (len(places) and places[-1] >= SIZE):
            raise ModelBroken(f"weights of {family} do not fit")
        weights[places] = found[family]["values"]
    return weights


def _wholes(found: object) -> dict[str, int]:
    if not isinstance(found, dict):
        raise ModelBroken("not a table of numbers")
    return {str(name): _whole(value) for name, value in found.items()}


def _whole(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool):
        raise ModelBroken("not a whole number")
    return found
