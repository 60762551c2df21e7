"""The table of commands: quick help, one line an error, exit codes."""

import importlib
import re
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
    "cel",
    "faststream",
    "numpy",
    "phonenumbers",
    "pydantic",
    "re2",
    "redis",
    "sqlalchemy",
    "uvloop",
    "yaml",
}
TOO_LONG = "x" * 300


def _paths(command: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    found = [(*at, name) for name in below]
    for name, each in below.items():
        found += _paths(each, (*at, name))
    return found


ALL = [(name, *rest) for name in COMMANDS for rest in [(), *_paths(load(name))]]
LEAVES = [path for path in ALL if not any(other[: len(path)] == path for other in ALL if other != path)]


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


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_fits_the_narrowest_terminal(invoke: Invoke, path: tuple[str, ...]) -> None:
    assert [line for line in invoke("", *path, "--help").output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_is_shown_by_an_example_that_can_be_copied(
    invoke: Invoke, path: tuple[str, ...]
) -> None:
    """Whole on its line: neither wrapped nor run together with its neighbours."""
    page = invoke("", *path, "--help").output.partition("Usage:")[2]
    command = f"headworks {' '.join(path)}"
    examples = [line for line in page.splitlines() if re.match(rf"      (\w.*)?{command}( |$|\))", line)]
    assert examples
    assert [line for line in examples if line.count("headworks ") > 1] == []


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    command = load(path[0])
    for name in path[1:]:
        command = command.commands[name]
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize(("no_color", "is_colored"), [("", True), ("1", False)])
def test_color_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, is_colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[" in CliRunner().invoke(app, ["--help"], color=True).output) == is_colored
    assert "\x1b[" not in CliRunner().invoke(app, ["--help"], color=False).output


def test_examples_stand_as_they_are_and_prose_flows() -> None:
    page = CliRunner().invoke(app, ["submit", "--help"], terminal_width=58).output
    assert '\n      headworks submit "What is the capital of Peru?"\n      cat letter.txt | ' in page
    assert "\n  The credential is taken from HEADWORKS_CREDENTIAL, or\n  from a `headworks dev` that" in page
    assert (
        "\n  PROMPT              What to ask; `-` reads it from\n                      standard input.\n"
        in page
    )


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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", TOO_LONG, "--output", "out.jsonl"), f"{TOO_LONG}: File name too long"),
        (("policy", "scan", TOO_LONG), f"{TOO_LONG}: File name too long"),
        (("prices", "import", "--output", "none/prices.json"), "none/prices.json: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    invoke: Invoke, database: None, arguments: tuple[str, ...], told: str
) -> None:
    result = invoke("", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error [file_unusable]: ")
    assert result.stderr.endswith(f"{told}\n")


@pytest.mark.parametrize("output", ["", ".", "/"])
@pytest.mark.parametrize("option", ["--output", "--errors"])
def test_a_run_does_not_write_into_a_folder(invoke: Invoke, output: str, option: str) -> None:
    result = invoke("run in.jsonl -o out.jsonl", option, output)
    assert result.exit_code == 2
    assert "is a directory" in result.output
