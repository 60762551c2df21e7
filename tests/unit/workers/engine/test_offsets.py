import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.engine.thorough import THOROUGH
from workers.engine.offsets import Tracker


def test_nothing_to_commit_before_the_first_record() -> None:
    assert Tracker().commit_point is None


def test_commit_point_is_the_oldest_unfinished() -> None:
    tracker = Tracker()
    for offset in (5, 6, 7):
        tracker.register(offset)
    tracker.finish(6)
    assert tracker.commit_point == 5
    tracker.finish(5)
    assert tracker.commit_point == 7
    tracker.finish(7)
    assert tracker.commit_point == 8
    assert tracker.span == 0


def test_what_is_lent_is_finished_once_for_each_that_has_it() -> None:
    tracker = Tracker()
    tracker.register(4)
    tracker.lend(4)
    tracker.lend(4)
    for _ in range(2):
        tracker.finish(4)
        assert tracker.commit_point == 4
    tracker.finish(4)
    assert tracker.commit_point == 5


def test_what_is_unfinished_here() -> None:
    tracker = Tracker()
    assert not tracker.is_unfinished(4)
    for offset in (4, 6, 7):
        tracker.register(offset)
    tracker.finish(6)
    assert [tracker.is_unfinished(offset) for offset in (3, 4, 6, 7, 8)] == [False, True, False, True, False]
    tracker.finish(4)
    tracker.finish(7)
    assert not tracker.is_unfinished(7)


def test_how_many_are_unfinished_of_what_is_read_and_what_is_not() -> None:
    tracker = Tracker()
    assert tracker.unfinished(9) == 0
    for offset in (4, 5, 6):
        tracker.register(offset)
    assert tracker.unfinished(9) == 5
    tracker.finish(5)
    assert (tracker.unfinished(9), tracker.unfinished(6)) == (4, 2)
    tracker.finish(4)
    assert tracker.unfinished(7) == 1


def test_a_record_registered_twice_is_a_fault() -> None:
    tracker = Tracker()
    tracker.register(3)
    with pytest.raises(ValueError, match="registered after"):
        tracker.register(3)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    offsets = sorted(draw(st.sets(st.integers(0, 200), min_size=1, max_size=60)))
    return offsets, draw(st.permutations(offsets))


@THOROUGH
@given(_histories(), st.data())
def test_never_back_and_never_past_unfinished_work(
    history: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    offsets, order = history
    tracker = Tracker()
    registered: list[int] = []
    finished: set[int] = set()
    pending = list(offsets)
    last = -1
    todo = list(order)
    while pending or todo:
        ready = [offset for offset in todo if offset in registered]
        if pending and (not ready or data.draw(st.booleans())):
            offset = pending.pop(0)
            tracker.register(offset)
            registered.append(offset)
        else:
            todo.remove(ready[0])
            finished.add(ready[0])
            tracker.finish(ready[0])
        point = tracker.commit_point
        assert point is not None
        unfinished = [offset for offset in registered if offset not in finished]
        assert point == (min(unfinished) if unfinished else registered[-1] + 1)
        assert point >= last
        last = point
    assert tracker.commit_point == offsets[-1] + 1
