import pytest

from broker.quota.limits import NUMBER_MAX, REASONS, Limits

SEVEN = Limits(
    nanodollars_per_day=5,
    requests_per_minute=6,
    jobs_in_flight=7,
    tokens_per_minute=8,
    tokens_per_day=9,
    tokens_per_month=10,
    nanodollars_per_month=11,
)


def test_reasons_are_the_limits_by_name_and_in_order() -> None:
    assert tuple(Limits.model_fields) == REASONS
    assert SEVEN.caps() == (5, 6, 7, 8, 9, 10, 11)


def test_no_limit_is_the_greatest_number_that_the_scripts_count_to() -> None:
    assert Limits().caps() == (NUMBER_MAX,) * len(REASONS)
    assert float(NUMBER_MAX) + 1 != float(NUMBER_MAX)


@pytest.mark.parametrize("name", REASONS)
def test_a_limit_lies_between_nothing_and_that_number(name: str) -> None:
    for wrong in (-1, NUMBER_MAX + 1):
        with pytest.raises(ValueError, match=name):
            Limits.model_validate({name: wrong})
    for right in (0, NUMBER_MAX):
        assert getattr(Limits.model_validate({name: right}), name) == right


@pytest.mark.parametrize("name", REASONS)
def test_spending_is_bounded_by_money_and_tokens_of_days_and_months(name: str) -> None:
    assert Limits.model_validate({name: 1}).bounds_spending == name.endswith(("_day", "_month"))
