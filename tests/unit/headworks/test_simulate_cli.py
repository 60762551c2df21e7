"""The command as a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from headworks.simulate.cli import simulate

DEADLINE_S = 30


@contextmanager
def running(*options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and the first line it printed."""
    command = [sys.executable, "-m", "headworks.simulate", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=DEADLINE_S) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "calls.jsonl"
    with running("--json", "--log", str(log), "--latency", "1", "--set", "completion_tokens_max=20") as (
        process,
        line,
    ):
        said = json.loads(line)
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        answer = fetch(f"{said['base_url']}/chat/completions", asked)
        assert answer["usage"]["completion_tokens"] == 20
        assert fetch(f"{said['url']}/faults")["latency"] == {"kind": "fixed", "ms": 1}
        assert said["pid"] == process.pid
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert len(log.read_bytes().splitlines()) == 1


def test_people_are_told_in_a_sentence() -> None:
    with running("--fault", "hang=0.5") as (_, line):
        assert line.startswith("Simulated provider, no model behind it: http://127.0.0.1:")


def test_a_log_that_fails_stops_it() -> None:
    with running("--json", "--log", "/dev/full") as (process, line):
        fetch(f"{json.loads(line)['base_url']}/embeddings", {"model": "e", "input": "a"})
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "error [simulator_failed]: the call log cannot be written any more" in err


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = tmp_path / "none" / "calls.jsonl"
    code, output = invoke("--port", "0", "--log", str(log))
    assert code == 1
    assert output == f"error [simulator_failed]: {log} cannot be written: No such file or directory\n"


def invoke(*options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, options, env={"COLUMNS": "400", "TERM": "dumb"})
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fault", "hung=1"), "hung is no fault; there are error, rate_limited"),
        (("--fault", "hang"), "hang lacks its value: write hang=NUMBER"),
        (("--fault", "hang=2"), "hang_rate: Input should be less than or equal to 1"),
        (("--latency", "soon"), "latency soon: "),
        (("--latency", "uniform:9:1"), "min_ms is above max_ms"),
        (("--set", "speling=1"), "speling: Extra inputs are not permitted"),
    ],
)
def test_options_that_make_no_sense_are_explained(options: tuple[str, ...], words: str) -> None:
    code, output = invoke(*options)
    assert code == 2
    assert words in output


def test_help_names_every_fault() -> None:
    code, output = invoke("--help")
    assert code == 0
    assert "slow_first_byte" in output
    assert "GET /calls" in output


def test_a_place_that_is_taken_is_named() -> None:
    with running("--json") as (_, line):
        port = json.loads(line)["port"]
        code, output = invoke("--port", str(port))
    assert code == 1
    assert output.startswith("error [simulator_failed]: the simulated provider cannot start at ")
    assert f"at 127.0.0.1:{port}: " in output
