"""How much a text looks like an injection, as a whole number, and what each rule gave to it."""

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import NamedTuple

from broker.policy.injection import model, rules
from broker.policy.injection.features import FAMILIES, Sum, Weights
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.model import Model, ModelBroken
from broker.policy.injection.rules import RulePack
from broker.policy.injection.windows import MARKS, Block, Window, windows
from broker.policy.views import PLAIN

_ROOT_SCALE = 1 << 10


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


class _Scored(NamedTuple):
    score: int
    window: Window
    families: Sequence[int]
    """What each gave."""


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
        self._weights = Weights(learned, words)

    @classmethod
    def load(cls) -> "Detector":
        """The packaged rules and model. Takes about half a second; keep what it gives. Raises ModelBroken."""
        learned = model.load()
        return cls(*rules.load(learned.words), learned)

    @property
    def flag_threshold(self) -> int:
        """Texts that score above it are flagged: 1 % of honest texts of unseen sources did."""
        return self.model.thresholds["fp_1"]

    def scan(self, text: str) -> Detection:
        """Never raises; linear in the length of `text`."""
        scored = list(self._scored(text))
        return self._explained(max(scored, key=lambda each: each.score), self._for_length(len(scored)))

    def _scored(self, text: str) -> Iterator[_Scored]:
        block: Block | None = None
        sums: list[tuple[Sum, Sum]] = []
        for window in windows(text, self.pack, self._words):
            if window.block is not block:
                block = window.block
                sums = self._sums(block)
            families = self._families([sums[segment] for segment in window.segments])
            yield _Scored(self.model.bias + sum(families) + self._given(window), window, families)

    def _sums(self, block: Block) -> list[tuple[Sum, Sum]]:
        return self._weights.sums(block.numbers, self._words.letters(block.symbols), block.edges)

    def _families(self, sums: Sequence[tuple[Sum, Sum]]) -> list[int]:
        """Per family: the weights of its features in the window over the root of their number, bounded."""
        if len(sums) == 1:
            return [self._bounded(total, count) for total, count in sums[0]]
        one, other = sums
        return [
            self._bounded(total + further, count + more)
            for (total, count), (further, more) in zip(one, other, strict=True)
        ]

    def _bounded(self, total: int, count: int) -> int:
        part = total * _ROOT_SCALE // isqrt(count * _ROOT_SCALE * _ROOT_SCALE) if count else 0
        return max(self.model.family_min, min(self.model.family_max, part))

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

    def _explained(self, scored: _Scored, length: int) -> Detection:
        score, window, families = scored
        hits = [RuleHit("model.bias", self.model.bias), RuleHit("model.length", length)]
        hits += [RuleHit(self.pack.rules[rule].id, self._contributions[rule]) for rule in window.rules]
        hits += [RuleHit(mark, self.model.marks[mark]) for mark in window.marks]
        hits += [RuleHit(f"model.{family}", part) for family, part in zip(FAMILIES, families, strict=True)]
        told = sorted((hit for hit in hits if hit.contribution), key=lambda hit: (-hit.contribution, hit.id))
        return Detection(score + length, tuple(told), window.view.kind, window.start)
