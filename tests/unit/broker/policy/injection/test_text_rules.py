"""What is looked for first leaves out nothing that a rule over text matches."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy.injection import rules
from broker.policy.injection.text_rules import loosened
from broker.policy.pattern_sets import pattern_set
from tests.unit.broker.policy.injection.matching import over_text

PACK, _ = rules.load()
RULES = {number: rule for number, rule in enumerate(PACK.rules) if rule.raw}
LOOKED_FOR = [number for number, rule in RULES.items() if rule.look]
_GAP = re.compile(r"\[\^(?:\\.|[^\]\\])+\](?:[*+]|\{2,\})")


@pytest.mark.parametrize("number", LOOKED_FOR)
def test_nothing_that_matches_is_left_out(number: int) -> None:
    pattern = RULES[number].raw
    alone = pattern_set([pattern], 32 << 20)

    @given(st.from_regex(re.compile(pattern.replace(r"\b?", ""), re.ASCII)))
    @settings(deadline=None, max_examples=500)
    def found_like_alone(text: str) -> None:
        encoded = text.encode(errors="replace")
        assert (number in over_text(PACK.over_text, encoded)) == bool(alone.Match(encoded))

    found_like_alone()


def test_what_is_looked_for_first_has_no_gap() -> None:
    for rule in RULES.values():
        assert not _GAP.search(rule.look or loosened(rule.raw)), rule.id
