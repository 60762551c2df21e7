"""Which revision decides for whom, as snapshots that never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Conflict
from broker.policy.policy_set import HISTORY_MAX, Activation, PolicySet, activate, after, rollback, shadow

A, B, C = "a" * 64, "b" * 64, "c" * 64
NONE = PolicySet()
PROJECT, OTHER = 7, 8


def test_nothing_decides_until_it_is_activated() -> None:
    assert NONE.live(PROJECT) is None
    assert activate(NONE, A).live(PROJECT) == A
    assert NONE.live(PROJECT) is None


def test_a_project_may_have_a_revision_of_its_own() -> None:
    policies = activate(activate(NONE, A), B, PROJECT)
    assert (policies.live(PROJECT), policies.live(OTHER)) == (B, A)
    assert rollback(policies, PROJECT) == activate(NONE, A)


def test_rollback_goes_back_one_at_a_time() -> None:
    policies = activate(activate(activate(NONE, A), B), C)
    assert rollback(policies).live(PROJECT) == B
    assert rollback(rollback(policies)).live(PROJECT) == A
    with pytest.raises(Conflict):
        rollback(activate(NONE, A))
    with pytest.raises(Conflict):
        rollback(policies, PROJECT)


def test_to_activate_what_is_live_changes_nothing() -> None:
    policies = activate(activate(NONE, A), B)
    assert activate(policies, B) == policies


def test_a_candidate_decides_in_the_shadow_until_it_is_live_or_taken_back() -> None:
    policies = shadow(activate(NONE, A), B)
    assert (policies.live(PROJECT), policies.candidate(PROJECT)) == (A, B)
    assert shadow(policies, None).candidate(PROJECT) is None
    assert activate(policies, B).candidate(PROJECT) is None
    assert activate(policies, C).candidate(PROJECT) == B


def test_a_project_may_have_a_candidate_of_its_own() -> None:
    policies = shadow(shadow(activate(NONE, A), B), C, PROJECT)
    assert (policies.candidate(PROJECT), policies.candidate(OTHER)) == (C, B)
    assert policies.live(PROJECT) == A
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
def test_rollback_undoes_an_activation(steps: list[tuple[str, int | None]], place: int | None) -> None:
    policies = activate(NONE, A)
    for one, where in steps:
        policies = activate(policies, one, where)
    assert rollback(activate(policies, "f" * 64, place), place) == policies


ACTS = st.builds(
    Activation,
    st.just(0),
    st.sampled_from([None, PROJECT]),
    st.sampled_from(["activate", "shadow"]),
    st.sampled_from([A, B, C]),
    st.just(0),
)


@given(st.lists(ACTS, max_size=8), st.integers(0, 8))
def test_acts_can_be_followed_in_pieces(acts: list[Activation], cut: int) -> None:
    assert after(after(NONE, acts[:cut]), acts[cut:]) == after(NONE, acts)


def test_an_act_of_each_kind_does_what_its_function_does() -> None:
    acts = [
        Activation(1, None, "activate", A, 0),
        Activation(2, PROJECT, "activate", B, 0),
        Activation(3, PROJECT, "shadow", C, 0),
        Activation(4, PROJECT, "shadow", None, 0),
        Activation(5, PROJECT, "rollback", None, 0),
    ]
    assert after(NONE, acts[:2]) == activate(activate(NONE, A), B, PROJECT)
    assert after(NONE, acts[:3]) == shadow(activate(activate(NONE, A), B, PROJECT), C, PROJECT)
    assert after(NONE, acts) == activate(NONE, A)
