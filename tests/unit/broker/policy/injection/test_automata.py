"""What the automata of rules can hold: the rest is refused when they are made."""

import pytest

from broker.policy.injection.automata import PLACES_MAX, automaton
from broker.policy.injection.patterns import PatternInvalid, parse
from tests.unit.broker.policy.injection.kinds import loaded


def test_a_pattern_of_more_places_than_a_number_has_bits_is_refused() -> None:
    alphabet = frozenset(loaded()[1].letter_of)
    assert len(automaton(parse(f"<now>{{{PLACES_MAX}}}", loaded()[1]), alphabet).follow) == PLACES_MAX
    with pytest.raises(PatternInvalid, match="65 places, more than 64"):
        automaton(parse(f"<now>{{{PLACES_MAX + 1}}}", loaded()[1]), alphabet)


@pytest.mark.parametrize("pattern", ["~3", "^ {0,1}", "^", "<now>{0,1} | <you>"])
def test_a_pattern_that_matches_where_nothing_stands_is_refused(pattern: str) -> None:
    with pytest.raises(PatternInvalid, match="nothing stands"):
        automaton(parse(pattern, loaded()[1]), frozenset())


def test_no_rule_is_refused() -> None:
    alphabet = frozenset(loaded()[1].letter_of)
    assert all(automaton(part, alphabet).last for part in loaded()[0].over_concepts.values())
