"""Whether a job is hopeless, by the answers of the last minute: over any history of answers."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.providers.routes import Target
from tests.unit.workers.memory import NOW_MS
from workers.latency import ENOUGH, KEPT, WINDOW_MS, RecentLatency

TARGET = Target("own", "gpt-4o-mini")


class Answered(NamedTuple):
    age_ms: int
    latency_ms: int


def recent(answers: list[Answered], target: Target = TARGET) -> RecentLatency:
    latency = RecentLatency()
    for answer in sorted(answers, key=lambda answer: -answer.age_ms):
        latency.note(target, answer.latency_ms, NOW_MS - answer.age_ms)
    return latency


histories = st.lists(
    st.builds(Answered, st.integers(0, 2 * WINDOW_MS), st.integers(0, 5_000)), max_size=2 * KEPT
)


@given(histories, st.integers(0, 6_000))
def test_a_job_is_hopeless_when_nine_of_ten_recent_answers_took_longer(
    answers: list[Answered], left_ms: int
) -> None:
    kept = sorted(answers, key=lambda answer: -answer.age_ms)[-KEPT:]
    known = [answer for answer in kept if answer.age_ms < WINDOW_MS]
    in_time = [answer for answer in known if answer.latency_ms <= left_ms]
    expected = len(known) >= ENOUGH and len(in_time) * 10 < len(known)
    assert recent(answers).is_too_slow(TARGET, left_ms, NOW_MS) == expected


@given(histories, st.integers(0, 6_000), st.integers(0, 6_000))
def test_more_time_never_makes_it_worse(answers: list[Answered], left_ms: int, more_ms: int) -> None:
    latency = recent(answers)
    if latency.is_too_slow(TARGET, left_ms + more_ms, NOW_MS):
        assert latency.is_too_slow(TARGET, left_ms, NOW_MS)


@pytest.mark.parametrize(("number", "too_slow"), [(0, False), (ENOUGH - 1, False), (ENOUGH, True)])
def test_nothing_is_said_without_enough_answers(number: int, too_slow: bool) -> None:
    latency = recent([Answered(0, 1_000)] * number)
    assert latency.is_too_slow(TARGET, 999, NOW_MS) is too_slow
    assert not latency.is_too_slow(TARGET, 1_000, NOW_MS)


def test_slow_answers_age_so_that_the_target_is_asked_again() -> None:
    latency = recent([Answered(0, 1_000)] * KEPT)
    assert latency.is_too_slow(TARGET, 10, NOW_MS + WINDOW_MS - 1)
    assert not latency.is_too_slow(TARGET, 10, NOW_MS + WINDOW_MS)


def test_a_target_says_nothing_of_another_nor_a_model_of_another() -> None:
    latency = recent([Answered(0, 1_000)] * KEPT)
    for other in (Target("other", "gpt-4o-mini"), Target("own", "gpt-4o")):
        assert not latency.is_too_slow(other, 10, NOW_MS)
