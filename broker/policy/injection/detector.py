"""How much a text looks like an injection, as a whole number, and what each rule gave to it."""

from collections.abc import Sequence
from math import inf
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

    def __init__(self, pack: RulePack, words: Lexicon, learned: Model, make: Make = quickest) -> None:
        """Raises ModelBroken when the model was not learned with these rules."""
        names = [rule.id for rule in pack.rules]
        if sorted(names) != sorted(learned.rules) or sorted(MARKS) != sorted(learned.marks):
            raise ModelBroken("the model was learned with other rules")
        self.model = learned
        self.pack = pack
        self._contributions = [learned.rules[name] for name in names]
        self._gains = [max(given, 0) for given in self._contributions]
        reader = make(pack.over_concepts, words, learned.weights(words))
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
        windows = list(self._windows.of(text))
        score, place, over_text = self._strongest(windows)
        length = self._for_length(len(windows))
        return self._explained(windows[place], over_text, score, length)

    def _strongest(self, windows: Sequence[Window]) -> tuple[int, int, tuple[int, ...]]:
        """The highest score, the first window that has it, and the rules over text that match there.

        Windows are asked for these by how much they may score at most, until none of the others can win.
        """
        sure = [self._surely(window) for window in windows]
        gains = {row: sum([self._gains[rule] for rule in row.likely]) for row in {w.row for w in windows}}
        most = [score + gains[window.row] for score, window in zip(sure, windows, strict=True)]
        best: tuple[float, int, tuple[int, ...]] = (-inf, 0, ())
        for place in sorted(range(len(windows)), key=lambda place: -most[place]):
            if most[place] < best[0]:
                break
            found = self._over_text(windows[place], most[place], best[0])
            if found is not None:
                score = sure[place] + sum([self._contributions[rule] for rule in found])
                best = max(best, (score, -place, found))
        return int(best[0]), -best[1], best[2]

    def _surely(self, window: Window) -> int:
        """Its score, but for rules over text."""
        score = self.model.bias + sum(window.families)
        for rule in window.rules:
            score += self._contributions[rule]
        for mark in window.marks:
            score += self.model.marks[mark]
        return score

    def _over_text(self, window: Window, most: int, least: float) -> tuple[int, ...] | None:
        """The rules over text that match; None as soon as the window, which may score `most`, cannot score
        `least`.
        """
        found = []
        for rule in sorted(window.row.likely, key=self._gains.__getitem__, reverse=True):
            if window.row.matches(window.place, rule):
                found.append(rule)
                continue
            most -= self._gains[rule]
            if most < least:
                return None
        return tuple(found)

    def _for_length(self, windows_read: int) -> int:
        """The more windows, the higher the strongest of them by chance: an allowance by doubling."""
        return -self.model.per_doubling * ((windows_read**4).bit_length() - 1) // 4

    def _explained(self, window: Window, over_text: tuple[int, ...], score: int, length: int) -> Detection:
        found = (*window.rules, *over_text)
        hits = [RuleHit("model.bias", self.model.bias), RuleHit("model.length", length)]
        hits += [RuleHit(self.pack.rules[rule].id, self._contributions[rule]) for rule in found]
        hits += [RuleHit(mark, self.model.marks[mark]) for mark in window.marks]
        families = zip(FAMILIES, window.families, strict=True)
        hits += [RuleHit(f"model.{family}", part) for family, part in families]
        told = sorted((hit for hit in hits if hit.contribution), key=lambda hit: (-hit.contribution, hit.id))
        return Detection(score + length, tuple(told), window.view.kind, window.start)
