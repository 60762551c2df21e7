"""Single jobs, from the command line."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from broker.settings import DatabaseSettings
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.jobs import Jobs
from broker.store.settlement import Settlements
from tests.contracts.store.builders import charge, intent, job, settle, settlement, state, verdict
from tests.unit.headworks.cli.conftest import Invoke

JOB = UUID("019b76da-a800-7d3f-8a5b-1c2d3e4f5061")


async def _record(url: str) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        ids: dict[str, Any] = {"application_id": 1, "job_id": JOB}
        first, second = intent(**ids), intent(**ids, attempt=2, started_ms=1_700_000_006_000)
        await Jobs(database).register([job(**ids, project_id=1)])
        await Attempts(database).begin([first, second])
        await Attempts(database).record_verdicts([verdict(first)])
        paid = (charge(1, verdict="failed", nanodollars=0, usage=None), charge(2))
        await settle(Settlements(database), settlement(0, state(**ids, project_id=1, charges=paid)))
    finally:
        await database.close()


@pytest.fixture
def answered(project: str, invoke: Invoke, tmp_path: Path) -> None:
    invoke(f"apps create indexer --project {project}")
    asyncio.run(_record(f"sqlite+aiosqlite:///{tmp_path}/headworks.db"))


def test_a_job_and_its_history(answered: None, invoke: Invoke) -> None:
    shown = invoke(f"jobs show {JOB}")
    assert shown.exit_code == 0, shown.output
    head, history = shown.stdout.split("\n\n")
    told = dict(line.split(maxsplit=1) for line in head.splitlines())
    assert (told["job"], told["application"], told["project"]) == (str(JOB), "indexer", "acme/search")
    assert (told["where"], told["because"]) == ("ended", "answered")
    rows = history.splitlines()
    assert [row[25:].split("  ")[0] for row in rows[1:]] == [
        "published",
        "attempt begun 1",
        "attempt failed 1",
        "attempt begun 2",
        "charged 1",
        "charged 2",
        "answered",
    ]
    assert "timeout, next not before 2023-11-14T22:13:25.000" in history
    assert "$0.0000042, 80 input tokens, 20 output tokens, 321 ms" in history


def test_the_same_for_scripts(answered: None, invoke: Invoke) -> None:
    shown = json.loads(invoke(f"jobs show {JOB} --json").stdout)
    assert (shown["where"], shown["run"], shown["deadline"]) == ("ended", 1, "2023-11-14T22:14:20+00:00")
    assert [event["event"] for event in shown["events"]][-1] == "answered"
    assert shown["events"][1]["detail"]["held_nanodollars"] == 9_000


def test_a_job_that_is_not_there(answered: None, invoke: Invoke) -> None:
    unknown = uuid.uuid4()
    result = invoke(f"jobs show {unknown}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error [not_found]: no job {unknown}: it has not come")
    assert invoke("jobs show nonsense").exit_code == 2
