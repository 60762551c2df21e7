from broker.quota.gate import Granted, Over, ReserveRequest, Settled, Settlement, StartRequest
from broker.quota.limits import NUMBER_MAX, Limits
from broker.quota.packing import pack_reserve, pack_settle, pack_start, unpack_answers
from schemas.state import Hold

HOLD = Hold(id="h", nanodollars=5, input_tokens=6, output_tokens=7, day=8, minute=9)


def reserve(hold_id: str, project_id: int, limits: Limits) -> ReserveRequest:
    return ReserveRequest(hold_id, 1, project_id, 5, 6, 7, limits, 1_000)


def test_requests_of_one_project_share_a_level_while_their_limits_agree() -> None:
    narrow, wide = Limits(10, 3, 9), Limits(20)
    levels, items = pack_reserve(
        [
            reserve("a", 1, narrow),
            reserve("b", 2, narrow),
            reserve("c", 1, Limits(10, 3, 9)),
            reserve("d", 1, wide),
        ]
    )
    assert levels == [("p1", 10, 3, 9), ("p2", 10, 3, 9), ("p1", 20, NUMBER_MAX, NUMBER_MAX)]
    assert items == [
        ("a", 5, 6, 7, [1], 1_000),
        ("b", 5, 6, 7, [2], 1_000),
        ("c", 5, 6, 7, [1], 1_000),
        ("d", 5, 6, 7, [3], 1_000),
    ]


def test_a_start_carries_what_to_take_should_the_hold_be_gone() -> None:
    levels, items = pack_start([StartRequest(HOLD, 1, 4, Limits(10))])
    assert levels == [("p4", 10, NUMBER_MAX, NUMBER_MAX)]
    assert items == [("h", 5, 6, 7, [1])]


def test_a_settlement_names_the_windows_of_its_hold() -> None:
    assert pack_settle([Settlement(HOLD, 1, 4, 3)]) == [("h", "p4", 3, 8, 9)]


def test_answers_are_read_six_numbers_at_a_time() -> None:
    numbers = [1, 5, 6, 7, 8, 9, 2, 5, 6, 7, 8, 9, 3, 5, 6, 7, 8, 9, 0, 1, 77, 0, 1, 0, 0, 2, 88, 1, 0, 0]
    named = [HOLD.model_copy(update={"id": name}) for name in "abc"]
    assert unpack_answers(numbers, list("abcde")) == [
        Granted(named[0], started=False),
        Granted(named[1], started=True),
        Settled(named[2]),
        Over("nanodollars_per_day", 77, never=False, held=True),
        Over("requests_per_minute", 88, never=True, held=False),
    ]
