"""What is shown while rows are done."""

import io
import sys

import pytest

from headworks.trial.progress import progress, throttled, timer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_rows_done_are_shown_after_the_second_reading_of_each() -> None:
    events: list[str] = []

    def clock() -> int:
        events.append("read")
        return len(events)

    read = timer(lambda done: events.append(f"{done} done"), clock)
    assert [read() for _ in range(4)] == [1, 2, 4, 5]
    assert events == ["read", "read", "1 done", "read", "read", "2 done"]


def test_it_is_shown_a_few_times_a_second() -> None:
    moments_ms = iter([0, 0, 100, 199, 200, 399, 401])
    shown: list[int] = []
    show = throttled(shown.append, lambda: next(moments_ms) * 1_000_000)
    for done in range(1, 7):
        show(done)
    assert shown == [1, 4, 6]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("injections", 3) as show:
        show(2)
    assert "injections" in terminal.getvalue()
    assert "2/3" in terminal.getvalue()


@pytest.mark.parametrize(("stream", "wanted"), [(io.StringIO(), True), (Terminal(), False)])
def test_nothing_else_does(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, wanted: bool) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("injections", 3, wanted=wanted) as show:
        show(2)
    assert stream.getvalue() == ""
