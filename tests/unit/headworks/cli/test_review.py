"""`headworks review`: what waits, who may decide, and what a decision says."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from broker.ops import applications
from broker.ops.projects import Address
from broker.settings import DatabaseSettings
from broker.store.database import Database
from tests.unit.headworks.cli.conftest import Invoke
from tests.unit.headworks.cli.holding import hold


async def _application(url: str) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        await applications.create(database, f"a{uuid4().hex[:8]}", Address("acme", "search"))
    finally:
        await database.close()


@pytest.fixture
def held(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two jobs that wait; no policy is active."""
    monkeypatch.setenv("HEADWORKS_OPERATOR", "ann")
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    asyncio.run(_application(url))
    return asyncio.run(hold(url, "e" * 64))


def test_what_waits_is_listed_with_the_time_that_is_left(invoke: Invoke, held: list[str]) -> None:
    heading, *rows = invoke("review list").stdout.splitlines()
    assert heading.split() == ["review", "project", "application", "lane", "rules", "age", "time", "left"]
    assert {row.split()[0] for row in rows} == {each[:12] for each in held}
    told = json.loads(invoke("review list --json").stdout)
    assert {each["review"] for each in told} == set(held)
    assert {(each["project"], each["lane"], each["rule"], each["verdict"]) for each in told} == {
        ("acme/search", "bulk", "all", None)
    }
    assert len(json.loads(invoke("review list --json --limit 1").stdout)) == 1


def test_only_who_was_appointed_decides_and_only_once(invoke: Invoke, held: list[str]) -> None:
    refused = invoke("review approve", held[0], "--why", "Fine.")
    assert (refused.exit_code, "error [role_missing]: ann is no reviewer" in refused.stderr) == (1, True)
    assert invoke("review appoint ann").stderr == "ann is a reviewer.\n"
    assert json.loads(invoke("review appoint ann --json").stdout) == {"operator": "ann", "new": False}
    assert [each["operator"] for each in json.loads(invoke("review reviewers --json").stdout)] == ["ann"]
    assert invoke("review approve", held[0][:8], "--why", "Fine.").stderr == (
        f"Review {held[0][:12]} is approved.\n"
    )
    denied = json.loads(invoke("review deny --json", held[1], "--why", "No.").stdout)
    assert (denied["verdict"], denied["decided_by"], denied["why"]) == ("denied", "ann", "No.")
    late = invoke("review deny", held[0], "--why", "No.")
    assert (late.exit_code, late.stderr) == (1, "error [conflict]: it is approved already by ann\n")
    assert invoke("review list").stderr == "None yet.\n"
    shown = json.loads(invoke("review show --json", held[0]).stdout)
    assert (shown["verdict"], shown["time_left"], "request" in shown) == ("approved", None, False)
    assert invoke("review dismiss ann").exit_code == 0
    assert invoke("review dismiss ann").exit_code == 1


def test_a_decision_takes_a_reason_and_a_review_that_is_there(invoke: Invoke, held: list[str]) -> None:
    invoke("review appoint ann")
    assert invoke("review approve", held[0]).exit_code == 2
    assert "error [settings_invalid]: say why" in invoke("review approve", held[0], "--why", " ").stderr
    assert "error [not_found]" in invoke("review show", "0" * 12).stderr
    assert "error [conflict]: give 6" in invoke("review show ab").stderr
