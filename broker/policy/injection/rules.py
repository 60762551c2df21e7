"""The rule pack: patterns over concepts and over text, as data, matched in linear time."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

from broker.policy.injection import concepts, lexicon
from broker.policy.injection.concepts import ConceptRules
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.text_rules import TextRules
from broker.policy.memory import Memory

_ROWS_MAX = 4_096
_LITERAL = re.compile(r"'([^']+)'")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way in which attacks are built; `match` and `no_match` are its own tests."""

    id: str
    description: str
    strength: int
    """Where learning starts from: how seldom an honest text does this."""
    pattern: str
    """Over concepts; empty where the rule is over text."""
    raw: str
    look: str
    """What stands wherever `raw` matches, without a gap; empty where `raw` has none."""
    match: tuple[str, ...]
    no_match: tuple[str, ...]

    @property
    def benign(self) -> bool:
        return self.id.startswith("benign.")


class Found(NamedTuple):
    """The rules that match in a text, by their places in the pack."""

    over_concepts: concepts.Found
    over_text: tuple[int, ...]

    @property
    def rules(self) -> tuple[int, ...]:
        return self.over_concepts.rules + self.over_text


class RulePack:
    """All rules."""

    def __init__(self, rules: tuple[Rule, ...], words: Lexicon) -> None:
        self.rules = rules
        self.rows = Memory[tuple[tuple[int, ...], ...]](_ROWS_MAX)
        """Of rows of windows, by their text, the rules of each: texts that grow begin as they did."""
        self._over_concepts = ConceptRules(
            {n: rule.pattern for n, rule in enumerate(rules) if rule.pattern}, words
        )
        self._over_text = TextRules(
            {n: rule.raw for n, rule in enumerate(rules) if rule.raw},
            {n: rule.look for n, rule in enumerate(rules) if rule.look},
        )

    def find(self, lower: str, symbols: Sequence[str]) -> Found:
        """In a folded text in lower case, given the symbols of its words."""
        return Found(self._over_concepts.find(symbols), self._over_text.find(_encoded(lower)))

    def of_windows(
        self, found: Found, segments: Sequence[str], edges: Sequence[int]
    ) -> tuple[tuple[int, ...], ...]:
        """Of what was found in a text the rules that match in each two segments side by side.

        They match as if the two were the whole. `edges`: the first symbol of each segment, and the end of the
        last.
        """
        over_text = [
            self._over_text.among(found.over_text, _encoded(one + other)) if found.over_text else ()
            for one, other in pairwise(segments)
        ]
        over_concepts = self._over_concepts.of_windows(found.over_concepts, edges)
        return tuple((*one, *other) for one, other in zip(over_concepts, over_text, strict=True))


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")


def load() -> tuple[RulePack, Lexicon]:
    """The packaged rules and the words that they speak of."""
    rules = tuple(_read())
    words = lexicon.load(sorted({word for rule in rules for word in _LITERAL.findall(rule.pattern)}))
    return RulePack(rules, words), words


def _read() -> Iterator[Rule]:
    document = tomllib.loads(files(__package__).joinpath("rules.toml").read_text())
    for entry in document["rule"]:
        yield Rule(
            id=entry["id"],
            description=entry["description"],
            strength=entry["strength"],
            pattern=entry.get("pattern", ""),
            raw=entry.get("raw", ""),
            look=entry.get("look", ""),
            match=tuple(entry["match"]),
            no_match=tuple(entry["no_match"]),
        )
