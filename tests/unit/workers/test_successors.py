"""What is known of attempts that got a record more."""

from broker.store.keys import AttemptKey
from tests.unit.workers.memory import JOB
from workers.successors import Successors


def test_only_what_has_a_successor_is_known_and_the_oldest_is_forgotten() -> None:
    successors = Successors()
    keys = [AttemptKey(1, JOB, 1, number) for number in range(10_002)]
    successors.through(keys[0])
    assert not successors.is_through(keys[0])
    for key in keys[:-1]:
        successors.begin(key)
        successors.through(key)
    assert not successors.is_through(keys[0])
    assert successors.is_through(keys[1])
    successors.begin(keys[1])
    assert successors.is_through(keys[1])
    assert not successors.is_through(keys[-1])
