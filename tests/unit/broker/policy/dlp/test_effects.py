import pytest

from broker.policy.dlp.effects import Effect, apply, check
from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.replacing import Placeholders
from broker.policy.dlp.spans import Kind, Span
from tests.unit.broker.policy.dlp.marked import unmarked

TEXT, SPANS = unmarked("«PERSON:Joe» «EMAIL:joe@x.io» «SECRET:hunter22» «OWN:Falcon» «IP_ADDRESS:10.1.2.3»")


def test_each_type_has_its_effect_and_what_is_not_named_is_flagged() -> None:
    placeholders = Placeholders([TEXT])
    effects: dict[str, Effect] = {
        Kind.EMAIL: Effect.TOKENIZE,
        Kind.SECRET: Effect.REDACT,
        Kind.IP_ADDRESS: Effect.FLAG,
    }
    applied = apply(TEXT, SPANS, effects, placeholders)
    assert applied.text == "Joe [EMAIL_1] [SECRET_1] Falcon 10.1.2.3"
    assert applied.blocked == ()
    assert applied.counts == {"PERSON": 1, "EMAIL": 1, "SECRET": 1, "OWN": 1, "IP_ADDRESS": 1}
    assert placeholders.mapping == {"[EMAIL_1]": "joe@x.io"}


def test_what_blocks_is_named_and_nothing_is_replaced() -> None:
    placeholders = Placeholders([TEXT])
    effects: dict[str, Effect] = {Kind.EMAIL: Effect.TOKENIZE, Kind.SECRET: Effect.BLOCK, "OWN": Effect.BLOCK}
    applied = apply(TEXT, SPANS, effects, placeholders)
    assert applied.text == TEXT
    assert applied.blocked == ("OWN", "SECRET")
    assert placeholders.mapping == {}


@pytest.mark.parametrize("effect", [Effect.BLOCK, Effect.REDACT, Effect.TOKENIZE])
def test_a_person_is_flagged_and_nothing_else(effect: Effect) -> None:
    effects: dict[str, Effect] = {Kind.PERSON: effect}
    with pytest.raises(DlpRulesInvalid):
        check(effects)
    assert apply("Joe", [Span(0, 3, Kind.PERSON)], effects, Placeholders(["Joe"])).text == "Joe"


def test_effects_that_leave_persons_alone_pass() -> None:
    check({Kind.PERSON: Effect.FLAG, Kind.EMAIL: Effect.BLOCK})
