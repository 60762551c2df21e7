"""The names of runs and lines: the same for the same, and never shared."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SettingsInvalid
from headworks.batch.identity import Entry, Run, default_run_id
from headworks.batch.output import malformed_line
from headworks.batch.requests import Fault, Malformed
from schemas.topics import ReplyTo

numbers = st.integers(1, 10**9)
texts = st.text(max_size=20)


@given(texts, numbers, texts, texts, numbers, texts)
def test_lines_share_an_id_only_where_run_number_and_custom_id_are_the_same(
    run: str, number: int, custom_id: str, other_run: str, other_number: int, other_custom_id: str
) -> None:
    one = Run("acme", run).line_id(number, custom_id)
    other = Run("acme", other_run).line_id(other_number, other_custom_id)
    assert (one == other) == ((run, number, custom_id) == (other_run, other_number, other_custom_id))


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="UTF-8"):
        Run("acme", "caf\udce9")


def test_another_application_has_other_jobs() -> None:
    assert Run("acme", "r").line_id(1, "a") != Run("other", "r").line_id(1, "a")
    assert Run("acme", "r").tag != Run("other", "r").tag


def test_what_changes_the_question_is_another_run() -> None:
    assert default_run_id("ab", 60, 5) == default_run_id("ab", 60, 5)
    assert len({default_run_id("ab", 60, 5), default_run_id("ab", 61, 5), default_run_id("ac", 60, 5)}) == 3


@given(texts, st.uuids())
def test_an_entry_is_found_in_the_line_that_was_written(run_id: str, line_id: UUID) -> None:
    entry = Run("acme", run_id).entry(line_id)
    written = malformed_line(entry, Malformed(3, "a", Fault.INVALID_JSON, "not JSON"))
    assert Entry.of(written) == entry


def test_another_line_has_no_entry() -> None:
    assert Entry.of(b'{"id":"batch_req_123","custom_id":"a"}') is None
    assert Entry.of(b"") is None


def test_the_instance_of_a_run_is_one_that_an_address_can_hold() -> None:
    place = ReplyTo("replies.acme", 0, Run("acme", "any run / at all").instance)
    assert ReplyTo.parse(str(place)) == place
