"""How lanes share the places at a target: bulk yields first, interactive last, and none starves."""

from hypothesis import given
from hypothesis import strategies as st

from broker.health.lanes import CEILINGS, LaneShares
from workers.lanes import LANE_WEIGHTS

LANES = ("bulk", "standard", "interactive")
"""In the order in which they yield."""
lanes = st.sampled_from(LANES)
limits = st.integers(1, 60)


def shares() -> LaneShares:
    return LaneShares(LANE_WEIGHTS)


def filled(limit: int, wanted: list[str]) -> tuple[LaneShares, dict[str, int]]:
    """As many of the wanted places as the lanes may have, in that order."""
    shared, used = shares(), dict.fromkeys(LANES, 0)
    for lane in wanted:
        if shared.fits(lane, limit, lowered=True):
            shared.take(lane)
            used[lane] += 1
    return shared, used


def test_all_lanes_have_their_place_in_the_order() -> None:
    assert tuple(CEILINGS) == LANES == tuple(sorted(LANE_WEIGHTS, key=LANE_WEIGHTS.__getitem__))


@given(limits, st.lists(lanes, max_size=120))
def test_no_more_places_are_taken_than_the_limit_and_where_one_lane_may_the_higher_may(
    limit: int, wanted: list[str]
) -> None:
    shared, used = filled(limit, wanted)
    assert shared.total == sum(used.values()) <= limit
    assert used["bulk"] <= max(1, 0.8 * limit)
    assert used["bulk"] + used["standard"] <= max(1, 0.9 * limit)
    fit = [shared.fits(lane, limit, lowered=True) for lane in LANES]
    assert fit == sorted(fit)


@given(limits, lanes)
def test_a_lane_alone_always_has_a_place_and_of_a_limit_that_is_not_lowered_all(
    limit: int, lane: str
) -> None:
    assert shares().fits(lane, limit, lowered=True)
    shared = shares()
    while shared.fits(lane, limit, lowered=False):
        shared.take(lane)
    assert shared.total == limit


@given(st.integers(10, 60), st.lists(lanes, max_size=200))
def test_under_pressure_each_lane_is_served_by_its_weight(limit: int, ends: list[str]) -> None:
    """All lanes wait all the time, and calls of any lane end one by one."""
    shared, used = filled(limit, [])
    served = dict.fromkeys(LANES, 0)
    for end in [*["bulk"] * limit, *ends]:
        if used[end] and shared.total >= limit:
            shared.give_back(end)
            used[end] -= 1
        while (lane := shared.next(LANES, limit, lowered=True)) is not None:
            shared.take(lane)
            used[lane] += 1
            served[lane] += 1
    for lane in LANES:
        rate = served[lane] / LANE_WEIGHTS[lane]
        assert abs(rate - served["interactive"] / LANE_WEIGHTS["interactive"]) <= 1


def test_when_the_limit_falls_bulk_loses_first_then_standard_interactive_last() -> None:
    """A standing offer of 30 interactive, 30 standard and any number of bulk calls."""
    offered = {"bulk": 200, "standard": 30, "interactive": 30}
    held = [settled(limit, offered) for limit in (100, 60, 30, 10)]
    assert [each["bulk"] for each in held] == sorted((each["bulk"] for each in held), reverse=True)
    at_100, at_60, at_30, at_10 = held
    assert at_100 == {"bulk": 40, "standard": 30, "interactive": 30}
    assert at_60["interactive"] == 30
    assert at_60["bulk"] < 10 < at_60["standard"]
    assert at_30["interactive"] > 20
    assert at_10["interactive"] >= 7
    assert at_10["standard"] >= 1


def settled(limit: int, offered: dict[str, int]) -> dict[str, int]:
    """What each lane has after calls have ended in turn for long."""
    shared, used = shares(), dict.fromkeys(LANES, 0)
    under_way: list[str] = []
    ended = ""
    for _ in range(3_000):
        while True:
            waiting = [lane for lane in LANES if used[lane] < offered[lane]]
            lane = shared.next(waiting, limit, lowered=True)
            if lane is None:
                break
            shared.take(lane)
            used[lane] += 1
            under_way.append(lane)
        ended = under_way.pop(0)
        shared.give_back(ended)
        used[ended] -= 1
    used[ended] += 1
    return used


def test_a_lane_that_did_not_wait_has_saved_nothing_up() -> None:
    shared = shares()
    for _ in range(100):
        shared.take("interactive")
        shared.give_back("interactive")
    shared.begin_to_wait("bulk")
    served = []
    for _ in range(21):
        lane = shared.next(("bulk", "interactive"), 1, lowered=True)
        assert lane is not None
        shared.take(lane)
        shared.give_back(lane)
        served.append(lane)
    assert served.count("bulk") <= 2
