"""What keeps `headworks dev`, `demo` and `worker` from starting is said before anything is started."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.unit.headworks.cli.conftest import Invoke


@pytest.mark.parametrize("command", ["dev", "worker all"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none(invoke: Invoke, command: str, port: str) -> None:
    result = invoke(f"{command} --health-port={port}")
    assert result.exit_code == 2
    assert "--health-port" in result.stderr


def test_dev_needs_a_folder_to_say_where_it_is(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / ".headworks").write_text("a file")
    result = invoke("dev --health-port 0")
    assert result.exit_code == 1
    assert result.stderr.startswith("error [settings_invalid]: ")
    assert ".headworks cannot be written" in result.stderr


def test_dev_is_alone_in_its_folder(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / ".headworks").mkdir()
    first = os.open(tmp_path / ".headworks", os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    result = invoke("dev --health-port 0")
    os.close(first)
    assert result.exit_code == 1
    assert result.stderr.startswith("error [settings_invalid]: ")
    assert "runs in this folder already" in result.stderr


def test_demo_needs_a_folder_for_the_answers(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").touch()
    (tmp_path / "taken").write_text("a file")
    result = invoke("demo jobs.jsonl --folder taken")
    assert result.exit_code == 2
    assert "taken cannot be written" in result.stderr
