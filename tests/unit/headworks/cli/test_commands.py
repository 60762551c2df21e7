"""The table of commands: quick help, one line an error, exit codes."""

import importlib
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from broker.errors import Conflict
from headworks.cli import app
from headworks.cli.commands import COMMANDS, Place, load
from tests.unit.headworks.cli.conftest import Invoke

HEAVY = {
    "aiohttp",
    "aiokafka",
    "alembic",
    "asyncpg",
    "faststream",
    "pydantic",
    "redis",
    "sqlalchemy",
    "uvloop",
}


def _paths(command: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    found = [(*at, name) for name in below]
    for name, each in below.items():
        found += _paths(each, (*at, name))
    return found


ALL = [(name, *rest) for name in COMMANDS for rest in [(), *_paths(load(name))]]
LEAVES = [path for path in ALL if not any(other[: len(path)] == path for other in ALL if other != path)]
OPERATING = [path for path in LEAVES if COMMANDS[path[0]].panel == "Operating"]


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['headworks', '--help']\n"
        "from headworks.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert "typer" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help(invoke: Invoke, path: tuple[str, ...]) -> None:
    result = invoke("", *path, "--help")
    assert result.exit_code == 0, result.output
    assert f"Usage: headworks {' '.join(path)} " in result.output


@pytest.mark.parametrize("path", OPERATING, ids=" ".join)
def test_what_operators_do_is_shown_by_an_example(invoke: Invoke, path: tuple[str, ...]) -> None:
    told = invoke("", *path, "--help").output.partition("Usage:")[2].partition("\n")[2]
    assert f"headworks {' '.join(path)}" in " ".join(told.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    command = load(name)
    first = (command.help or "").partition("\n\n")[0].replace("\n", " ").strip()
    if hasattr(command, "commands"):
        assert first.startswith(COMMANDS[name].summary.partition(":")[0])
    else:
        assert COMMANDS[name].summary == first


def test_the_top_lists_every_command(invoke: Invoke) -> None:
    listed = invoke("--help").output
    for name in COMMANDS:
        assert f" {name} " in listed


def test_a_typo_is_wrong_usage_and_gets_a_suggestion(invoke: Invoke) -> None:
    result = invoke("doctr")
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.output


def test_the_version(invoke: Invoke) -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.startswith("headworks ")


def _refuse() -> None:
    raise Conflict("it is there already")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _leave() -> None:
    raise typer.Exit(3)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The command `trial` does what the test's parameter says."""
    monkeypatch.setitem(COMMANDS, "trial", Place(__name__, "_trial", "For a test.", "Operating"))
    monkeypatch.setattr(importlib, "import_module", lambda _name: request.module)
    monkeypatch.setattr(request.module, "_trial", request.param, raising=False)


@pytest.mark.parametrize("replaced", [_refuse], indirect=True)
def test_an_error_of_ours_is_one_line(replaced: None) -> None:
    result = CliRunner().invoke(app, ["trial"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error [conflict]: it is there already\n"


@pytest.mark.parametrize("replaced", [_interrupt], indirect=True)
def test_ctrl_c_leaves_no_traceback(replaced: None) -> None:
    result = CliRunner().invoke(app, ["trial"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


@pytest.mark.parametrize("replaced", [_leave], indirect=True)
def test_a_command_has_its_own_exit_codes(replaced: None) -> None:
    assert CliRunner().invoke(app, ["trial"]).exit_code == 3
