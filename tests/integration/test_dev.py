"""`headworks dev` and `headworks demo` as processes, in an empty folder: what a newcomer does first."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from broker.identity.credential import Credential
from tests.integration.bill_of_calls import bill_of_calls

DEADLINE_S = 90
READY = b"Ctrl-C stops it."
ROOT = Path(__file__).parents[2]


async def _start(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADWORKS_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from headworks.cli import main; main()",
        *arguments,
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **(environment or {})},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )


async def _run(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status, and all that was said."""
    process = await _start(folder, *arguments, environment=environment)
    said, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def _said_until(process: Process, end: bytes) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        return (await process.stdout.readuntil(end)).decode()


@asynccontextmanager
async def _dev(folder: Path) -> AsyncIterator[Process]:
    process = await _start(folder, "dev", "--latency", "1", "--health-port", "0")
    said = await _said_until(process, READY)
    assert "headworks submit" in said
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), DEADLINE_S)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """As `set -a; . .headworks/dev.env` would have it, of one for all."""
    folder = tmp_path_factory.mktemp("dev")
    async with _dev(folder):
        lines = (folder / ".headworks" / "dev.env").read_text().splitlines()
        yield dict(line.split("=", 1) for line in lines)


async def test_it_answers_in_its_folder_and_leaves_nothing(tmp_path: Path) -> None:
    async with _dev(tmp_path) as dev:
        assert (tmp_path / ".headworks" / "dev.env").stat().st_mode & 0o777 == 0o600
        status, said = await _run(tmp_path, "submit", "Hello")
        assert status == 0
        assert "This answer is simulated" in said
        dev.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(dev.wait(), DEADLINE_S) == 0
    assert list((tmp_path / ".headworks").iterdir()) == []
    status, said = await _run(tmp_path, "submit", "Hello")
    assert status == 1
    assert said.startswith("error [secret_missing]: HEADWORKS_CREDENTIAL is not set")
    assert "run `headworks dev` in this folder" in said


async def test_its_bill_can_be_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    await _run(tmp_path, "submit", "Hello", "--model", "gpt-4o", environment=environment)
    status, said = await _run(tmp_path, "usage", "--by", "model", "--json", environment=environment)
    [row] = json.loads(said)
    assert (status, row["model"], row["jobs"]) == (0, "gpt-4o", 1)
    assert row["nanodollars"] > 0


async def test_it_is_well_by_its_own_environment(environment: dict[str, str], tmp_path: Path) -> None:
    for command in (("doctor",), ("topics", "check")):
        status, said = await _run(tmp_path, *command, environment=environment)
        assert status == 0, said


async def test_a_wrong_key_gets_no_reply_and_is_told_what_to_look_at(
    environment: dict[str, str], tmp_path: Path
) -> None:
    right = Credential.parse(environment["HEADWORKS_CREDENTIAL"])
    wrong = Credential(right.application, right.key_id, bytes(32))
    given = environment | {"HEADWORKS_CREDENTIAL": wrong.reveal()}
    status, said = await _run(tmp_path, "submit", "a-secret-prompt", "--timeout", "3", environment=given)
    assert status == 1
    assert said.startswith("error [result_timeout]: ")
    assert "check the key (`headworks keys list`)" in said
    status, said = await _run(tmp_path, "dead", "list", "--json", environment=environment)
    [letter] = json.loads(said)
    assert (letter["stage"], letter["reason"]) == ("admit", "bad_signature")
    assert (letter["admitted"], letter["application"]) == (False, right.application)
    assert "a-secret-prompt" not in said


async def test_a_health_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, said = await _run(tmp_path, "dev", "--health-port", str(port))
    starting, line = said.splitlines()
    assert (status, starting) == (1, "Starting...")
    assert line.startswith(f"error [settings_invalid]: the health endpoint cannot have port {port}")


def _billed(said: str) -> dict[str, int]:
    """Nanodollars by model, from the bill as people read it."""
    rows = said.partition("Bill by model")[2].partition("total")[0].splitlines()[2:]
    return {row.split()[0]: int(row.split()[-1].replace(".", "")) for row in rows if row.strip()}


async def test_the_demo_ends_with_the_bill_and_the_audit(tmp_path: Path) -> None:
    jobs = (ROOT / "examples" / "jobs.jsonl").read_text().splitlines()[:40]
    (tmp_path / "jobs.jsonl").write_text("\n".join(jobs) + "\n")
    status, said = await _run(tmp_path, "demo", "jobs.jsonl")
    assert status == 0
    for part in ("Summary", "Bill by department", "Bill by model", "all hash chains whole", "To go on:"):
        assert part in said
    assert [line for line in said.splitlines() if len(line.rstrip()) > 80] == []
    folder = tmp_path / ".headworks" / "demo"
    written = [(folder / name).read_text().count("\n") for name in ("out.jsonl", "out.errors.jsonl")]
    assert sum(written) == 40
    assert _billed(said) == bill_of_calls(folder / "calls.jsonl", ROOT / "config" / "prices.json")
    assert (await _run(tmp_path, "demo"))[0] == 2
