import pytest

from broker.quota.budget import Budget
from broker.quota.limits import NUMBER_MAX, Limits

NARROW = Limits(nanodollars_per_month=9)


def test_a_branch_runs_from_the_organization_to_the_key() -> None:
    budget = Budget(7, 3, "c0ffee", key=Limits(tokens_per_day=5))
    free = (NUMBER_MAX,) * 7
    assert budget.packed == (("o", *free), ("p3", *free), ("kc0ffee", *free[:4], 5, *free[5:]))
    assert budget.packed is budget.packed


@pytest.mark.parametrize("level", ["organization", "project", "key"])
def test_one_level_that_bounds_spending_makes_it_hard(level: str) -> None:
    assert not Budget(7, 3, "c0ffee", **{level: Limits(requests_per_minute=1)}).is_hard
    assert Budget(7, 3, "c0ffee", **{level: NARROW}).is_hard
