"""Which revision decides for whom, as snapshots that never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Conflict
from broker.policy.policy_set import HISTORY_MAX, PolicySet, activate, rollback, shadow
from tests.unit.broker.policy.jobs import revision, rule

A, B, C = (revision(rule(name)) for name in "abc")
NONE = PolicySet()
PROJECT, OTHER = 7, 8


def test_nothing_decides_until_it_is_activated() -> None:
    assert NONE.live(PROJECT) is None
    assert activate(NONE, A).live(PROJECT) is A
    assert NONE.live(PROJECT) is None


def test_a_project_may_have_a_revision_of_its_own() -> None:
    policies = activate(activate(NONE, A), B, PROJECT)
    assert (policies.live(PROJECT), policies.live(OTHER)) == (B, A)
    assert rollback(policies, PROJECT) == activate(NONE, A)


def test_rollback_goes_back_one_at_a_time() -> None:
    policies = activate(activate(activate(NONE, A), B), C)
    assert rollback(policies).live(PROJECT) is B
    assert rollback(rollback(policies)).live(PROJECT) is A
    with pytest.raises(Conflict):
        rollback(activate(NONE, A))
    with pytest.raises(Conflict):
        rollback(policies, PROJECT)


def test_to_activate_what_is_live_changes_nothing() -> None:
    policies = activate(activate(NONE, A), B)
    assert activate(policies, revision(rule("b"))) == policies


def test_a_candidate_decides_in_the_shadow_until_it_is_live_or_taken_back() -> None:
    policies = shadow(activate(NONE, A), B)
    assert (policies.live(PROJECT), policies.candidate(PROJECT)) == (A, B)
    assert shadow(policies, None).candidate(PROJECT) is None
    assert activate(policies, B).candidate(PROJECT) is None
    assert activate(policies, C).candidate(PROJECT) is B


def test_a_project_may_have_a_candidate_of_its_own() -> None:
    policies = shadow(shadow(activate(NONE, A), B), C, PROJECT)
    assert (policies.candidate(PROJECT), policies.candidate(OTHER)) == (C, B)
    assert policies.live(PROJECT) is A
    assert shadow(policies, None, PROJECT) == shadow(activate(NONE, A), B)


def test_history_is_bounded() -> None:
    policies = NONE
    for number in range(HISTORY_MAX + 5):
        policies = activate(policies, (A, B)[number % 2])
    assert len(policies.default.past) == HISTORY_MAX


@given(
    st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from([None, PROJECT, OTHER])), max_size=8),
    st.sampled_from([None, PROJECT]),
)
def test_rollback_undoes_an_activation(steps: list[tuple[object, int | None]], place: int | None) -> None:
    policies = activate(NONE, A)
    for one, where in steps:
        policies = activate(policies, one, where)  # type: ignore[arg-type]  # st.tuples loses the type
    after = activate(policies, revision(rule("new")), place)
    assert rollback(after, place) == policies
