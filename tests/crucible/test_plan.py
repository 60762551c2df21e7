"""The plan of faults follows from the seed alone."""

from itertools import pairwise

import pytest

from tests.crucible.plan import DECK, plan
from tests.crucible.traffic import SOURCES, called_off_after_s

WORKERS = 6


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    assert plan(7, 300, WORKERS) == plan(7, 300, WORKERS)
    assert plan(7, 300, WORKERS) != plan(8, 300, WORKERS)


def test_a_long_run_meets_every_kind_and_kafka_last() -> None:
    for seed in range(20):
        kinds = [fault.kind for fault in plan(seed, 300, WORKERS)]
        assert kinds[-1] == "kafka"
        assert kinds.count("kafka") == 1
        assert set(kinds) == {*DECK, "kafka"}


def test_a_run_may_be_of_some_kinds_alone() -> None:
    assert {fault.kind for fault in plan(1, 40, WORKERS, ["echo", "rewind"])} == {"echo", "rewind"}
    with pytest.raises(ValueError, match="echo"):
        plan(1, 40, WORKERS, [])


def test_faults_stand_in_order_and_end_with_the_load() -> None:
    for seed in range(20):
        faults = plan(seed, 60, WORKERS)
        assert all(before.at_s + before.still_s < after.at_s for before, after in pairwise(faults))
        assert faults[-1].at_s < 60
        assert {fault.worker for fault in faults} <= set(range(WORKERS))


def test_every_source_but_the_probes_calls_a_small_share_of_its_jobs_off() -> None:
    for source in SOURCES:
        number = sum(called_off_after_s(source, number) is not None for number in range(1_200))
        assert number == (0 if source.probe else 100)
