"""Rules over text that match in a whole text."""

from broker.policy.injection.text_rules import TextRules


def over_text(rules: TextRules, text: bytes) -> tuple[int, ...]:
    return tuple(number for number in rules.likely(text) if rules.match(number, text))
