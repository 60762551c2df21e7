"""What a check says, and how clocks are compared."""

from hypothesis import given
from hypothesis import strategies as st

from broker.errors import KafkaUnavailable
from broker.ops.checks import CLOCK_DIFFERENCE_MS_MAX, Check, attempt, compare_clocks

NOW_MS = 1_800_000_000_000
TRIPS_MS = st.integers(0, 5_000)


async def test_a_probe_that_raises_has_failed_with_its_code_and_its_fix() -> None:
    async def away() -> str:
        raise KafkaUnavailable("no Kafka")

    assert await attempt("kafka", "start it", away) == Check(
        "kafka", ok=False, detail="no Kafka", fix="start it", code="kafka_unavailable"
    )


async def test_a_probe_that_answers_has_passed() -> None:
    async def well() -> str:
        return "1 broker"

    assert await attempt("kafka", "start it", well) == Check("kafka", ok=True, detail="1 broker")


@given(TRIPS_MS, st.data())
def test_clocks_that_agree_pass_however_long_the_way_was(trip_ms: int, data: st.DataObject) -> None:
    there_ms = data.draw(st.integers(0, trip_ms))
    assert compare_clocks("clock", NOW_MS, NOW_MS + there_ms, NOW_MS + trip_ms).ok


@given(TRIPS_MS, st.integers(1, 10**9))
def test_a_clock_that_is_ahead_is_told(trip_ms: int, more_ms: int) -> None:
    theirs_ms = NOW_MS + trip_ms + CLOCK_DIFFERENCE_MS_MAX + more_ms
    check = compare_clocks("clock", NOW_MS, theirs_ms, NOW_MS + trip_ms)
    assert (check.ok, check.code) == (False, "clock_wrong")
    assert "s ahead of this host's" in check.detail


@given(TRIPS_MS, st.integers(1, 10**9))
def test_a_clock_that_is_behind_is_told(trip_ms: int, more_ms: int) -> None:
    check = compare_clocks("clock", NOW_MS, NOW_MS - CLOCK_DIFFERENCE_MS_MAX - more_ms, NOW_MS + trip_ms)
    assert not check.ok
    assert "s behind this host's" in check.detail


def test_it_says_within_what_the_clocks_agree() -> None:
    assert compare_clocks("clock", NOW_MS, NOW_MS + 3, NOW_MS + 8).detail == "within 8 ms of this host's"
    assert compare_clocks("clock", NOW_MS, NOW_MS + 20, NOW_MS + 8).detail == "within 20 ms of this host's"
