"""The learned integers, read once from model.json and checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.reading import Weights


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
    per_doubling: int
    """What is taken off the score for each doubling of the number of windows."""
    thresholds: Mapping[str, int]
    """Scores above which `fp_0_5`, `fp_1` and `fp_3` percent of honest texts of unseen sources lay."""
    words: Mapping[str, int]
    sequences: Mapping[str, int]
    """By the names of three concepts with blanks between them."""

    def weights(self, words: Lexicon) -> Weights:
        """What readers give. Raises ModelBroken."""
        return Weights(self.words, self._by_letters(words), self.family_min, self.family_max)

    def _by_letters(self, words: Lexicon) -> dict[tuple[str, ...], int]:
        letters = {name: letter for letter, name in words.names.items()}
        try:
            return {
                tuple([letters[name] for name in names.split(" ")]): weight
                for names, weight in self.sequences.items()
            }
        except KeyError as missing:
            raise ModelBroken(f"no concept {missing}") from None


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
            per_doubling=_whole(document["per_doubling"]),
            thresholds=_wholes(document["thresholds"]),
            words=_wholes(document["words"]),
            sequences=_wholes(document["sequences"]),
        )
    except KeyError as missing:
        raise ModelBroken(f"{missing} is missing") from None


def _wholes(found: object) -> dict[str, int]:
    if not isinstance(found, dict):
        raise ModelBroken("not a table of numbers")
    return {str(name): _whole(value) for name, value in found.items()}


def _whole(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool):
        raise ModelBroken("not a whole number")
    return found
