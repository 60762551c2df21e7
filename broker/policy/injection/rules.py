"""The rule pack: patterns over concepts and over text, as data, matched in linear time."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from broker.policy.injection import lexicon
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import parse
from broker.policy.injection.text_rules import TextRules

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


class RulePack:
    """All rules."""

    def __init__(self, rules: tuple[Rule, ...], words: Lexicon) -> None:
        """Raises PatternInvalid."""
        self.rules = rules
        self.over_concepts = {n: parse(rule.pattern, words) for n, rule in enumerate(rules) if rule.pattern}
        self.over_text = TextRules(
            {n: rule.raw for n, rule in enumerate(rules) if rule.raw},
            {n: rule.look for n, rule in enumerate(rules) if rule.look},
        )


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
