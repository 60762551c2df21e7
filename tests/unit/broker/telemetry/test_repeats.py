"""What a library says again and again is told once in a while, and nothing else is held back."""

import logging

from broker.telemetry.repeats import REPEAT_EVERY_S, Repeats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def said(
    text: str, *filling: object, name: str = "aiokafka.conn", level: int = logging.ERROR
) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, text, filling, None)


def test_the_same_is_told_once_in_a_while_with_how_often_it_was_not() -> None:
    clock = Clock()
    repeats = Repeats(["aiokafka"], clock)
    passed = [repeats.filter(said("no node %s", number)) for number in range(5)]
    assert passed == [True, False, False, False, False]
    clock.now = REPEAT_EVERY_S
    again = said("no node %s", 9)
    assert repeats.filter(again)
    assert again.__dict__["repeated"] == 4
    clock.now = 2 * REPEAT_EVERY_S
    alone = said("no node %s", 9)
    assert repeats.filter(alone)
    assert "repeated" not in alone.__dict__


def test_other_words_another_level_and_another_logger_are_told() -> None:
    repeats = Repeats(["aiokafka"], Clock())
    assert repeats.filter(said("no node"))
    assert repeats.filter(said("no leader"))
    assert repeats.filter(said("no node", level=logging.WARNING))
    assert repeats.filter(said("no node", name="aiokafka.other"))


def test_our_own_events_are_never_held_back() -> None:
    repeats = Repeats(["aiokafka"], Clock())
    assert all(repeats.filter(said("trouble", name="workers.dispatch")) for _ in range(3))


def test_what_is_kept_is_bounded() -> None:
    repeats = Repeats(["aiokafka"], Clock())
    assert all(repeats.filter(said(f"node {number}")) for number in range(3_000))
    assert len(repeats._said) <= 1_000
