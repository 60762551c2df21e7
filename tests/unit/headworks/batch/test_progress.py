"""What is said while a run goes."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from headworks.batch.pace import Pace, clock
from headworks.batch.progress import Bar, Plain, Silent, describe
from headworks.batch.tally import Tally


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(61):
        pace.mark(second, min(second, 30) * 100)
    assert pace.per_s == 0
    pace.mark(61, 3_150)
    assert pace.per_s == pytest.approx(10)
    assert pace.left_s(100) == pytest.approx(10)


def test_while_nothing_moves_nobody_knows_how_long_it_takes() -> None:
    pace = Pace()
    assert pace.left_s(10) is None
    pace.mark(0, 5)
    pace.mark(0, 5)
    assert pace.left_s(10) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**9)), max_size=50))
def test_the_rate_is_never_negative(marks: list[tuple[float, int]]) -> None:
    pace = Pace()
    done = 0
    for now_s, more in sorted(marks):
        done += more
        pace.mark(now_s, done)
        assert pace.per_s >= 0


@pytest.mark.parametrize(
    ("duration_s", "told"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3_723, "1:02:03")]
)
def test_a_duration_reads_as_on_a_clock(duration_s: float, told: str) -> None:
    assert clock(duration_s) == told


def tally(answered: int) -> Tally:
    counted = Tally(lines=1_000)
    counted.answered, counted.open, counted.nanodollars = answered, 12, 1_234_567_890
    return counted


def test_rate_flight_cost_and_time_left_are_told() -> None:
    pace = Pace()
    assert describe(tally(0), pace, 0) == "0/s, 12 in flight, $1.2345"
    assert describe(tally(100), pace, 10) == "10/s, 12 in flight, $1.2345, 1:30 left"


def test_without_a_terminal_there_is_a_line_every_five_seconds_and_one_at_the_end() -> None:
    stream = StringIO()
    plain = Plain(stream, Pace())
    for tenth in range(100):
        plain.show(tally(tenth), 100 + tenth / 10)
    plain.close(tally(100), 110)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "0 of 1000 lines",
        "50 of 1000 lines",
        "100 of 1000 lines",
    ]


def test_what_was_never_shown_is_not_shown_at_the_end() -> None:
    stream = StringIO()
    Plain(stream, Pace()).close(tally(0), 1)
    assert stream.getvalue() == ""


def test_a_terminal_has_a_bar() -> None:
    stream = StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=120), Pace())
    bar.show(tally(0), 0)
    bar.note("still here")
    bar.close(tally(500), 10)
    assert "500/1000" in stream.getvalue()
    assert "50/s, 12 in flight" in stream.getvalue()
    assert "still here" in stream.getvalue()


def test_silence_is_possible() -> None:
    silent = Silent()
    silent.show(tally(0), 0)
    silent.note("x")
    silent.close(tally(0), 0)
