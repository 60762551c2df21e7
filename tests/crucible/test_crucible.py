"""A short run, by the command that `make crucible` gives: all that must be zero is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNTS = [
    *("published", "answered", "lost", "two_outcomes", "charged_twice", "cancelled", "cancelled_wrongly"),
    *(
        "overspent",
        "holds_left",
        "second_calls",
        "second_calls_unexplained",
        "faults",
        "recover_p99_s",
        "errors",
    ),
]
SECONDS = 15
SEED = 2
TIMEOUT_S = 200


@pytest.mark.timeout(TIMEOUT_S + 20)
def test_a_short_run_keeps_every_promise(tmp_path: Path) -> None:
    options = ["--seconds", str(SECONDS), "--seed", str(SEED), "--history", str(tmp_path / "history.json")]
    run = subprocess.run(
        [sys.executable, "-m", "tests.crucible", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    told = run.stdout + run.stderr
    assert run.returncode == 0, told
    counts = json.loads(run.stdout.splitlines()[-1])
    assert list(counts) == COUNTS
    assert counts["published"] == counts["answered"] > 0, told
    assert counts["faults"] > 0
    assert counts["second_calls"] > 0
    assert counts["cancelled"] > 0, told
