from broker.quota.budget import Budget
from broker.quota.gate import Granted, Over, ReserveRequest, Settled, Settlement, StartRequest
from broker.quota.limits import NUMBER_MAX, Limits
from broker.quota.packing import pack_reserve, pack_settle, pack_start, unpack_answers
from schemas.state import Hold

HOLD = Hold(id="h", nanodollars=5, input_tokens=6, output_tokens=7, day=8, minute=9)
FREE = (NUMBER_MAX,) * 7
NARROW = Limits(nanodollars_per_day=10, jobs_in_flight=9)
ONE, TWIN = Budget(1, 1, "a", project=NARROW), Budget(1, 1, "a", project=NARROW)
SIBLING, OTHER = Budget(1, 1, "b", project=NARROW), Budget(1, 2, "c")
P1 = ("p1", 10, NUMBER_MAX, 9, *FREE[3:])


def reserve(hold_id: str, budget: Budget, jobs_in_flight_max: int | None = None) -> ReserveRequest:
    return ReserveRequest(hold_id, budget, 5, 6, 7, 1_000, jobs_in_flight_max)


def test_requests_share_what_their_budgets_have_in_common() -> None:
    levels, branches, items = pack_reserve(
        [reserve("a", ONE), reserve("b", SIBLING), reserve("c", ONE), reserve("d", OTHER), reserve("e", TWIN)]
    )
    assert levels == [("o", *FREE), P1, ("ka", *FREE), ("kb", *FREE), ("p2", *FREE), ("kc", *FREE)]
    assert branches == [[1, 2, 3], [1, 2, 4], [1, 5, 6], [1, 2, 3]]
    assert items == [
        (name, 5, 6, 7, branch, 1_000) for name, branch in zip("abcde", (1, 2, 1, 3, 4), strict=True)
    ]


def test_a_bound_of_jobs_in_flight_narrows_the_project_alone() -> None:
    levels, branches, items = pack_reserve(
        [reserve("a", ONE, 4), reserve("b", ONE, 20), reserve("c", ONE, 4), reserve("d", OTHER, 4)]
    )
    assert levels[1] == ("p1", 10, NUMBER_MAX, 4, *FREE[3:])
    assert [levels[branch[1] - 1][3] for branch in branches] == [4, 9, 4]
    assert [item[4] for item in items] == [1, 2, 1, 3]
    assert [level[3] for level in levels if level[0] in {"o", "ka"}] == [NUMBER_MAX] * 2


def test_a_start_carries_what_to_take_should_the_hold_be_gone() -> None:
    levels, branches, items = pack_start([StartRequest(HOLD, ONE)])
    assert (levels, branches) == ([("o", *FREE), P1, ("ka", *FREE)], [[1, 2, 3]])
    assert items == [("h", 5, 6, 7, 1)]


def test_a_settlement_names_the_nodes_and_the_windows_of_its_hold() -> None:
    assert pack_settle([Settlement(HOLD, 1, 4, "c0", 3, 12)]) == [[("h", "o,p4,kc0", 3, 12, 8, 23640, 9)]]


def test_answers_are_read_seven_numbers_at_a_time() -> None:
    hold = [5, 6, 7, 8, 23640, 9]
    numbers = [1, *hold, 2, *hold, 3, *hold, 0, 1, 1, 77, 0, 1, 0, 0, 6, 3, 88, 1, 0, 0, 0, 2, 2, 66, 0, 0, 0]
    named = [HOLD.model_copy(update={"id": name}) for name in "abc"]
    answers = unpack_answers(numbers, list("abcdef"))
    assert answers == [
        Granted(named[0], started=False),
        Granted(named[1], started=True),
        Settled(named[2]),
        Over("nanodollars_per_day", "organization", 77, never=False, held=True),
        Over("tokens_per_month", "key", 88, never=True, held=False),
        Over("requests_per_minute", "project", 66, never=False, held=False),
    ]
    codes = [answer.code for answer in answers if isinstance(answer, Over)]
    assert codes == ["organization_nanodollars_per_day", "key_tokens_per_month", "requests_per_minute"]
