"""A command whose standard streams are closed, or lead to where there is no room."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m headworks"


def _run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("command", ["keys generate-secret", "prices list", "--version"])
def test_where_there_is_no_room_for_the_output_it_is_said_in_one_line(command: str) -> None:
    done = _run(f"{COMMAND} {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        "error [output_unwritable]: the output cannot be written: No space left on device\n"
    )


def test_a_reader_that_has_left_is_told_nothing() -> None:
    done = _run(f"{{ {COMMAND} prices list --json; echo $? >&2; }} | head -c 1")
    assert done.stdout == "["
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_with_closed_streams_a_command_goes_on() -> None:
    assert _run(f"{COMMAND} prices list <&- >&- 2>&-").returncode == 0


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from headworks.cli.streams import guarded\n"
        "with guarded():\n"
        "    answers = open(sys.argv[1], 'w')\n"
        "    print('said'), print('told', file=sys.stderr)\n"
        "    answers.write(f'{answers.fileno() > 2} {sys.stdin.read()!r}')\n"
    )
    done = _run(f"{sys.executable} {program} {tmp_path}/answers <&- >&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "answers").read_text() == "True ''"
