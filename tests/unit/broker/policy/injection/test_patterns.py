"""The language of rules over concepts."""

from functools import cache

import pytest

from broker.policy.injection import rules
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import PatternInvalid, begins, parse, stays, tries, ways


@cache
def words() -> Lexicon:
    return rules.load()[1]


@pytest.mark.parametrize(
    ("pattern", "one_sentence", "at_a_beginning"),
    [
        ("<drop> ~3 <prior>", True, False),
        ("^ <'please'> {0,2} <now>", True, True),
        ("(<i> <be> | ^ <now>) ~2 <you>", True, True),
        ("<urgent> [^]{0,8} <added>", False, False),
        ("<urgent> <END|now>", False, False),
        ("<urgent> ~2 (^ <now>)", False, True),
        ("(^ <now>){2}", False, True),
    ],
)
def test_rules_that_stay_in_a_sentence_are_told(
    pattern: str, one_sentence: bool, at_a_beginning: bool
) -> None:
    part = parse(pattern, words())
    assert (stays(part), begins(part)) == (one_sentence, at_a_beginning)


def test_a_way_needs_what_is_not_optional() -> None:
    now, you, drop = (words().concepts[name] for name in ("now", "you", "drop"))
    pattern = "<now> {0,2} (<you> ~2 <drop> | <drop>{2} <PLAIN>) [^]{0,3} <now>"
    assert ways(parse(pattern, words())) == [(you, drop, now), (drop, now)]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("<now>", 1),
        ("<now> ~3 <you>", 4),
        ("<now> ([^]{0,4} <you>){2} <drop>", 25),
        ("<now> ([^]{0,4} <you>){3}", 15),
        ("(^ | <i>) {0,1} ~1 <be>", 8),
    ],
)
def test_the_ways_to_read_on_are_counted(pattern: str, count: int) -> None:
    assert tries(parse(pattern, words())) == count


@pytest.mark.parametrize(
    "pattern", ["<now", "now", "(<now>", "<now>)", "{2} <now>", "<now> ~2{3} <you>", "~", "<now> *"]
)
def test_what_the_language_does_not_have_is_refused(pattern: str) -> None:
    with pytest.raises(PatternInvalid, match="in "):
        parse(pattern, words())
