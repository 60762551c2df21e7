"""How much a text looks like an injection, as a whole number, and what each rule gave to it."""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection import model, rules
from broker.policy.injection.features import FAMILIES, Document
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.model import Model, ModelBroken
from broker.policy.injection.rules import RulePack
from broker.policy.injection.windows import MARKS, Window, windows
from broker.policy.views import PLAIN

_ROOT_SCALE = 1 << 10


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule, a mark (`view.decoded`), a family of features (`model.word`) or the bias, and what it gave."""

    id: str
    contribution: int


@dataclass(frozen=True, slots=True)
class Detection:
    """The strongest window. The contributions add up to the score."""

    score: int
    rules: tuple[RuleHit, ...]
    view: str = PLAIN
    """The decoders that led to the text in which the window stands, joined by +."""
    start: int = 0
    """Where the window begins in that text, in characters."""


class Detector:
    """Scores texts. Pure: the same text has the same score on every machine; time is linear in the text."""

    def __init__(self, pack: RulePack, words: Lexicon, learned: Model) -> None:
        """Raises ModelBroken when the model was not learned with these rules."""
        names = [rule.id for rule in pack.rules]
        if sorted(names) != sorted(learned.rules) or sorted(MARKS) != sorted(learned.marks):
            raise ModelBroken("the model was learned with other rules")
        self.model = learned
        self.pack = pack
        self._words = words
        self._contributions = [learned.rules[name] for name in names]

    @classmethod
    def load(cls) -> "Detector":
        """The packaged rules and model. Takes about half a second; keep what it gives. Raises ModelBroken."""
        return cls(*rules.load(), model.load())

    @property
    def flag_threshold(self) -> int:
        """Texts that score above it are flagged: 1 % of honest texts of unseen sources did."""
        return self.model.thresholds["fp_1"]

    def scan(self, text: str) -> Detection:
        """Never raises; linear in the length of `text`."""
        best: Window | None = None
        best_score = 0
        best_families: tuple[int, ...] = ()
        sums: dict[int, _Sums] = {}
        for window in windows(text, self.pack, self._words):
            document = sums.get(id(window.document))
            if document is None:
                document = sums[id(window.document)] = _Sums(window.document, self.model)
            families = document.between(window.start, window.stop)
            score = self.model.bias + sum(families) + self._given(window)
            if best is None or score > best_score:
                best, best_score, best_families = window, score, families
        return self._explained(best, best_score, best_families) if best else Detection(self.model.bias, ())

    def _given(self, window: Window) -> int:
        given = sum(self._contributions[rule] for rule in window.rules)
        return given + sum(self.model.marks[mark] for mark in window.marks)

    def _explained(self, window: Window, score: int, families: tuple[int, ...]) -> Detection:
        hits = [RuleHit("model.bias", self.model.bias)]
        hits += [RuleHit(self.pack.rules[rule].id, self._contributions[rule]) for rule in window.rules]
        hits += [RuleHit(mark, self.model.marks[mark]) for mark in window.marks]
        hits += [RuleHit(f"model.{family}", part) for family, part in zip(FAMILIES, families, strict=True)]
        told = sorted((hit for hit in hits if hit.contribution), key=lambda hit: (-hit.contribution, hit.id))
        return Detection(score, tuple(told), window.view.kind, window.start)


class _Sums:
    """Running sums of the weights of a document's features, so that a window costs two look-ups a family."""

    def __init__(self, document: Document, learned: Model) -> None:
        self._document = document
        self._low, self._high = learned.family_min, learned.family_max
        self._sums = tuple(_running(learned.weights[features]) for features in document.features)

    def between(self, start: int, stop: int) -> tuple[int, ...]:
        """Per family: the weights of the features that begin in the window, over the root of their number."""
        return tuple(
            self._clipped(
                sums,
                start if places is None else int(np.searchsorted(places, start)),
                stop if places is None else int(np.searchsorted(places, stop)),
            )
            for sums, places in zip(self._sums, self._document.places, strict=True)
        )

    def _clipped(self, sums: NDArray[np.int64], first: int, last: int) -> int:
        last = min(last, len(sums) - 1)
        if last <= first:
            return 0
        total = int(sums[last] - sums[first]) * _ROOT_SCALE
        part = total // isqrt((last - first) * _ROOT_SCALE * _ROOT_SCALE)
        return max(self._low, min(self._high, part))


def _running(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=sums[1:])
    return sums
