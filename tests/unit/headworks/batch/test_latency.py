"""Percentiles within two percent, whatever the number of durations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.batch.latency import Latencies


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=60), st.floats(0, 100))
def test_a_percentile_is_the_nearest_rank_to_within_two_percent(
    durations: list[float], percent: float
) -> None:
    latencies = Latencies()
    for duration in durations:
        latencies.add(duration)
    exact = sorted(durations)[max(math.ceil(len(durations) * percent / 100), 1) - 1]
    assert latencies.percentile(percent) == pytest.approx(exact, rel=0.021)


def test_of_nothing_there_is_none() -> None:
    assert Latencies().percentile(50) is None


def test_a_duration_of_nothing_counts() -> None:
    latencies = Latencies()
    latencies.add(0)
    assert latencies.percentile(50) == pytest.approx(1e-6)
