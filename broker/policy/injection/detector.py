"""How much a text looks like an injection, as a whole number, and what each rule gave to it."""

from typing import NamedTuple

from broker.policy.injection import model, rules
from broker.policy.injection.features import FAMILIES
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.model import Model, ModelBroken
from broker.policy.injection.readers import Make, quickest
from broker.policy.injection.rules import RulePack
from broker.policy.injection.windows import MARKS, Window, Windows
from broker.policy.views import PLAIN


class RuleHit(NamedTuple):
    """A rule, a mark (`view.decoded`), a family of features (`model.word`) or the bias, and what it gave."""

    id: str
    contribution: int


class Detection(NamedTuple):
    """The strongest window. The contributions add up to the score."""

    score: int
    rules: tuple[RuleHit, ...]
    view: str = PLAIN
    """The decoders that led to the text in which the window stands, joined by +."""
    start: int = 0
    """Where the window begins in that text, in characters."""


class Detector:
    """Scores texts. Pure: the same text has the same score on every machine; time is linear in the text."""

    def __init__(self, pack: RulePack, words: Lexicon, learned: Model, make: Make | None = None) -> None:
        """`make`: a reader, if not the quickest here. Raises ModelBroken when the model was not learned with
        these rules.
        """
        names = [rule.id for rule in pack.rules]
        if sorted(names) != sorted(learned.rules) or sorted(MARKS) != sorted(learned.marks):
            raise ModelBroken("the model was learned with other rules")
        self.model = learned
        self.pack = pack
        self._contributions = [learned.rules[name] for name in names]
        reader = (make or quickest())(pack.over_concepts, words, learned.weights(words))
        self._windows = Windows(pack, words, reader)

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
        best_score = number = 0
        for window in self._windows.of(text):
            number += 1
            score = self.model.bias + sum(window.families) + self._given(window)
            if best is None or score > best_score:
                best, best_score = window, score
        if best is None:
            return Detection(self.model.bias, ())
        return self._explained(best, best_score, self._for_length(number))

    def _for_length(self, windows_read: int) -> int:
        """The more windows, the higher the strongest of them by chance: an allowance by doubling."""
        return -self.model.per_doubling * ((windows_read**4).bit_length() - 1) // 4

    def _given(self, window: Window) -> int:
        given = 0
        for rule in window.rules:
            given += self._contributions[rule]
        for mark in window.marks:
            given += self.model.marks[mark]
        return given

    def _explained(self, window: Window, score: int, length: int) -> Detection:
        hits = [RuleHit("model.bias", self.model.bias), RuleHit("model.length", length)]
        hits += [RuleHit(self.pack.rules[rule].id, self._contributions[rule]) for rule in window.rules]
        hits += [RuleHit(mark, self.model.marks[mark]) for mark in window.marks]
        families = zip(FAMILIES, window.families, strict=True)
        hits += [RuleHit(f"model.{family}", part) for family, part in families]
        told = sorted((hit for hit in hits if hit.contribution), key=lambda hit: (-hit.contribution, hit.id))
        return Detection(score + length, tuple(told), window.view.kind, window.start)
