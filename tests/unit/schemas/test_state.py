"""A state says the same whether or not it knows which of its fields were given."""

from schemas.state import Decision, Estimate, State
from tests.unit.workers.memory import state


def whole() -> State:
    given = state(
        estimate=Estimate(nanodollars=1, input_tokens=2, output_tokens=3, price_version="v", terms="{}"),
        decision=Decision(id="d", revision="r", effect="allow"),
    )
    return State.model_validate_json(given.model_dump_json(exclude_none=True))


def test_a_state_that_forgot_what_was_set_says_and_becomes_the_same() -> None:
    kept, light = whole(), whole()
    light.forget_what_was_set()
    for record in (light, light.tags, light.retry, light.estimate, light.decision, light.hold):
        assert record is not None
        assert record.model_fields_set == set()
    assert light == kept
    for each in (light, light.model_copy(update={"attempt": 2})):
        again = kept.model_copy(update={"attempt": each.attempt})
        assert each.model_dump_json(exclude_none=True) == again.model_dump_json(exclude_none=True)
    assert State.model_validate_json(light.model_dump_json(exclude_none=True)) == kept
