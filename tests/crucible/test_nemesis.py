"""What goes wrong with a run is an error of the run: the rest is done, and the last line is printed."""

import json
import sys
from dataclasses import asdict
from typing import Any, cast

import pytest

from tests.crucible import __main__ as crucible
from tests.crucible.arena import Arena
from tests.crucible.checker import check
from tests.crucible.history import History
from tests.crucible.nemesis import Nemesis
from tests.crucible.plan import Fault


class Stubborn:
    """A worker that does not end when it is told to."""

    name, pid = "dispatch", 4_711
    starts = 0

    def terminate(self, timeout_s: float) -> int:
        raise AssertionError(f"{self.name} did not end within {timeout_s} s")

    def kill(self) -> None: ...

    def is_alive(self) -> bool:
        return True

    def start(self, *, wait: bool) -> None:
        self.starts += 1


class Ground:
    """What such a worker needs of an arena."""

    def __init__(self, worker: Stubborn) -> None:
        self.workers = [worker]


def fault(kind: Any) -> Fault:
    return Fault(0.0, kind, 0, 0.0, "held", 1, "kafka", "jobs.bulk")


async def test_a_worker_that_does_not_end_is_an_error_and_the_next_fault_comes() -> None:
    worker = Stubborn()
    nemesis = Nemesis(cast(Arena, Ground(worker)), lambda _: None)
    await nemesis.carry_out([fault("renew"), fault("kill")])
    assert nemesis.errors == ["renew: AssertionError: dispatch did not end within 40.0 s"]
    assert [harm.kind for harm in nemesis.harms] == ["renew", "kill"]
    assert worker.starts == 2


@pytest.mark.parametrize("error", [RuntimeError("no more room"), KeyboardInterrupt(), TimeoutError()])
def test_a_run_that_breaks_says_so_in_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def breaks(_: object) -> Any:
        raise error

    monkeypatch.setattr(crucible, "_report", breaks)
    monkeypatch.setattr(sys, "argv", ["crucible"])
    assert crucible.main() == 1
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert counts["errors"] == 1
    assert list(counts) == list(asdict(check(History(budgets={})).counts))
