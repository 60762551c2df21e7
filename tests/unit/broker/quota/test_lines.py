"""In which line a job stands."""

import pytest

from broker.quota.gate import Over
from broker.quota.lines import LINE_CODES, is_crowded, line_of, waits_for_room
from schemas.state import State
from tests.unit.workers.memory import state


def parked_for(code: str | None) -> State:
    return state(parked_for=code)


def test_a_job_stands_in_the_line_of_the_limit_that_it_was_parked_for() -> None:
    own = state()
    assert [line_of(parked_for(code)) for code in LINE_CODES.values()] == [
        f"{own.organization_id}/o",
        f"{own.organization_id}/p{own.project_id}",
        f"{own.organization_id}/k{own.key_id}",
    ]


@pytest.mark.parametrize("code", [None, "review", "tokens_per_day", "organization_tokens_per_minute"])
def test_whoever_waits_for_something_else_stands_in_none(code: str | None) -> None:
    assert line_of(parked_for(code)) is None
    assert not waits_for_room(code)


def test_only_what_room_can_free_is_waited_for_in_line() -> None:
    assert is_crowded(Over("jobs_in_flight", "key", 0, never=False, held=True))
    assert not is_crowded(Over("jobs_in_flight", "key", 0, never=True, held=False))
    assert not is_crowded(Over("tokens_per_day", "key", 0, never=False, held=True))
