"""What a dead letter is said to be, whatever its headers hold."""

from uuid import UUID

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from broker.ops.dead_letters import describe
from schemas.dead_letter import DeadLetter
from tests.contracts.store.builders import state

JOB = UUID("01890000-0000-7000-8000-000000000001")
NOTE = DeadLetter(stage="admit", reason="bad_signature", origin="jobs.bulk/1/7", at_ms=1).model_dump_json()


def _record(*headers: tuple[str, bytes], value: bytes = b"a prompt") -> ConsumerRecord:
    return ConsumerRecord("dead", 5, 9, 1_700_000_000_000, 1, None, value, None, 0, len(value), headers)


def test_a_job_that_was_admitted_is_what_its_state_says() -> None:
    stated = state(job_id=JOB)
    letter = describe(
        _record(
            ("hw-state", stated.model_dump_json().encode()),
            ("hw-application", b"another"),
            ("hw-dead-letter", NOTE.encode()),
        )
    )
    assert (letter.admitted, letter.application, letter.job_id) == (True, stated.application, JOB)
    assert (letter.stage, letter.reason, letter.origin) == ("admit", "bad_signature", "jobs.bulk/1/7")
    assert (str(letter.coordinate), letter.value_bytes) == ("dead/5/9", 8)


def test_another_record_is_what_it_claims_to_be() -> None:
    letter = describe(_record(("hw-application", b"shop"), ("correlation_id", str(JOB).encode())))
    assert (letter.admitted, letter.application, letter.job_id) == (False, "shop", JOB)
    assert (letter.stage, letter.reason, letter.origin, letter.detail) == (None, None, None, None)


@pytest.mark.parametrize("claimed", [b"\x1b[31mshop", b"shop\n", b"", b"\xff", b"s" * 64])
def test_a_claim_that_is_no_name_is_not_repeated(claimed: bytes) -> None:
    letter = describe(_record(("hw-application", claimed), ("correlation_id", claimed)))
    assert (letter.application, letter.job_id) == (None, None)


@given(st.lists(st.tuples(st.sampled_from(["hw-state", "hw-dead-letter", "correlation_id"]), st.binary())))
def test_nothing_in_a_header_keeps_it_from_being_listed(headers: list[tuple[str, bytes]]) -> None:
    assert str(describe(_record(*headers)).coordinate) == "dead/5/9"


def test_what_it_says_is_never_told() -> None:
    assert "a prompt" not in repr(describe(_record(value=b"a prompt")))
