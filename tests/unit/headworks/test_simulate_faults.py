import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.simulate import (
    Behaviour,
    CannedAnswer,
    Fault,
    FixedLatency,
    LognormalLatency,
    UniformLatency,
)
from headworks.simulate.behaviour import LATENCY_MS_MAX
from headworks.simulate.faults import (
    Dice,
    RequestLimit,
    canned_for,
    dice_of,
    fate_of,
    fault_of,
    latency_ms_of,
)

MIDDLE = Dice(fault=0.5, latency=0.5, choice=0.5)
ROLLS = st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True)


@given(st.integers(), st.binary(min_size=32, max_size=32), st.text())
def test_dice_fall_strictly_between_zero_and_one_and_alike_each_time(
    seed: int, digest: bytes, caller: str
) -> None:
    dice = dice_of(seed, digest, caller)
    assert dice == dice_of(seed, digest, caller)
    assert all(0 < roll < 1 for roll in (dice.fault, dice.latency, dice.choice))


def test_seed_body_and_caller_each_change_the_dice() -> None:
    base = dice_of(1, b"a" * 32, "job/0/1")
    assert len({base, dice_of(2, b"a" * 32, "job/0/1"), dice_of(1, b"b" * 32, "job/0/1")}) == 3
    assert base != dice_of(1, b"a" * 32, "job/0/2")


def test_faults_fall_as_often_as_their_rates_say() -> None:
    behaviour = Behaviour(error_rate=0.2, hang_rate=0.1, slow_first_byte_rate=0.3)
    fates = [fault_of(behaviour, (step + 0.5) / 1000) for step in range(1000)]
    assert fates.count(Fault.ERROR) == 200
    assert fates.count(Fault.HANG) == 100
    assert fates.count(Fault.SLOW_FIRST_BYTE) == 300
    assert fates.count(None) == 400


@given(ROLLS)
def test_a_rate_of_one_leaves_no_call_out_and_a_rate_of_zero_takes_none(roll: float) -> None:
    assert fault_of(Behaviour(hang_rate=1), roll) is Fault.HANG
    assert fault_of(Behaviour(), roll) is None


def test_latencies_meet_their_quantiles() -> None:
    assert latency_ms_of(FixedLatency(ms=20), 0.99) == 20
    assert latency_ms_of(UniformLatency(min_ms=10, max_ms=50), 0.25) == 20
    tailed = LognormalLatency(p50_ms=200, p99_ms=1500)
    assert latency_ms_of(tailed, 0.5) == pytest.approx(200)
    assert latency_ms_of(tailed, 0.99) == pytest.approx(1500)


@given(ROLLS, ROLLS, st.floats(1e-3, LATENCY_MS_MAX), st.floats(1e-3, LATENCY_MS_MAX))
def test_latencies_grow_with_the_roll_and_stay_within_bounds(
    one: float, other: float, a: float, b: float
) -> None:
    low, high = sorted((a, b))
    for latency in (UniformLatency(min_ms=low, max_ms=high), LognormalLatency(p50_ms=low, p99_ms=high)):
        sooner, later = (latency_ms_of(latency, roll) for roll in sorted((one, other)))
        assert 0 <= sooner <= later * (1 + 1e-9)
        assert later <= LATENCY_MS_MAX
        assert math.isfinite(later)


def test_an_error_is_500_or_503() -> None:
    behaviour = Behaviour(error_rate=1)
    assert {fate_of(behaviour, Dice(0.5, 0.5, roll), None).status for roll in (0.1, 0.9)} == {500, 503}


def test_a_slow_first_byte_comes_later_than_the_latency() -> None:
    behaviour = Behaviour(latency=FixedLatency(ms=20), slow_first_byte_rate=1, slow_first_byte_ms=300)
    assert fate_of(behaviour, MIDDLE, None).latency_ms == 320


@pytest.mark.parametrize(("at_once", "latency_ms"), [(1, 20), (10, 20), (11, 22), (50, 100)])
def test_calls_beyond_its_capacity_make_all_of_them_slow_in_proportion(
    at_once: int, latency_ms: float
) -> None:
    behaviour = Behaviour(latency=FixedLatency(ms=20), capacity=10)
    assert fate_of(behaviour, MIDDLE, None, at_once).latency_ms == pytest.approx(latency_ms)


def test_a_canned_answer_goes_before_the_rates() -> None:
    behaviour = Behaviour(hang_rate=1)
    assert fate_of(behaviour, MIDDLE, CannedAnswer(content="yes")).fault is None
    assert fate_of(behaviour, MIDDLE, CannedAnswer(status=404)).status == 404
    assert fate_of(behaviour, MIDDLE, CannedAnswer(fault=Fault.DROP_IN_BODY)).fault is Fault.DROP_IN_BODY


def test_the_first_canned_answer_that_fits_is_taken() -> None:
    marked = CannedAnswer(contains="marker", content="1")
    of_job = CannedAnswer(job_id="j", attempt_max=2, content="2")
    behaviour = Behaviour(canned=(marked, of_job))
    assert canned_for(behaviour, b"a marker here", "j", 1) is marked
    assert canned_for(behaviour, b"plain", "j", 2) is of_job
    assert canned_for(behaviour, b"plain", "j", 3) is None
    assert canned_for(behaviour, b"plain", "j", None) is None
    assert canned_for(behaviour, b"plain", "k", 1) is None


def test_the_limit_lets_one_second_of_requests_through_at_once_and_then_its_rate() -> None:
    limit = RequestLimit(10)
    assert [limit.take(0).remaining for _ in range(10)] == list(range(9, -1, -1))
    assert limit.take(0).retry_after_s == 1
    assert limit.take(0.1).retry_after_s is None
    assert limit.take(0.1).retry_after_s == 1
    assert limit.take(5).remaining == 9


def test_a_limit_below_one_a_second_says_how_long_to_wait() -> None:
    limit = RequestLimit(0.25)
    assert limit.take(0).retry_after_s is None
    assert limit.take(1).retry_after_s == 3
    assert limit.take(4).retry_after_s is None


@given(
    st.floats(0.1, 500),
    st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_the_limit_is_never_exceeded_and_its_advice_is_good(per_second: float, gaps: list[float]) -> None:
    limit, now, passed = RequestLimit(per_second), 0.0, 0
    for gap in gaps:
        now += gap
        allowance = limit.take(now)
        passed += allowance.retry_after_s is None
        if allowance.retry_after_s is not None:
            now += allowance.retry_after_s
            passed += 1
            assert limit.take(now).retry_after_s is None
    assert passed <= max(1.0, per_second) + now * per_second + 1e-6 * len(gaps)
