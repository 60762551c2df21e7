"""Budgets from the command line."""

import json
from typing import Any

import pytest

from tests.unit.headworks.cli.conftest import Invoke


def _history(invoke: Invoke, subject: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(invoke(f"budgets history {subject} --json").stdout)
    return found


def test_limits_are_set_on_organization_project_and_key(project: str, invoke: Invoke) -> None:
    assert "dollars per day" in invoke(f"budgets set {project} --dollars-per-day 25").stdout
    assert "$5000.00" in invoke("budgets set acme --dollars-per-month 5000").stdout
    assert "$25.00" in invoke(f"projects show {project}").stdout


def test_who_changed_what_is_on_record(project: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_OPERATOR", "ann")
    invoke(f"budgets set {project} --dollars-per-day 25 --requests-per-minute 60")
    invoke(f"budgets raise {project} --dollars-per-day 40")
    invoke(f"budgets set {project} --dollars-per-day 40")  # changes nothing
    latest, first, *_ = _history(invoke, project)
    assert (latest["who"], latest["what"], latest["subject"]) == ("ann", "project.set", project)
    assert latest["before"] == {"nanodollars_per_day": 25_000_000_000}
    assert latest["after"] == {"nanodollars_per_day": 40_000_000_000}
    assert set(first["after"]) == {"nanodollars_per_day", "requests_per_minute"}
    assert _history(invoke, "acme/none") == []


def test_to_raise_is_to_make_it_more(project: str, invoke: Invoke) -> None:
    invoke(f"budgets set {project} --dollars-per-day 25")
    for amount in ("25", "24.99"):
        result = invoke(f"budgets raise {project} --dollars-per-day {amount}")
        assert result.exit_code == 1
        assert "does not raise it" in result.stderr
    result = invoke(f"budgets raise {project} --tokens-per-day 5")
    assert (result.exit_code, "no tokens_per_day to raise" in result.stderr) == (1, True)
    assert invoke(f"budgets raise {project} --dollars-per-day none").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ("set nobody --dollars-per-day 1", 1, "no organization nobody"),
        ("set acme/none --dollars-per-day 1", 1, "no project acme/none"),
        ("set key:none --dollars-per-day 1", 1, "no key none"),
        ("set acme", 2, "say what to change"),
        ("set acme --dollars-per-day lots", 1, "not an amount of dollars"),
        ("set acme --tokens-per-day -1", 1, "tokens_per_day"),
        ("raise acme --tokens-per-day many", 1, "tokens_per_day"),
    ],
)
def test_what_cannot_be_set(project: str, invoke: Invoke, arguments: str, status: int, told: str) -> None:
    result = invoke(f"budgets {arguments}")
    assert (result.exit_code, result.stdout) == (status, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_the_gate_of_another_process_cannot_be_asked(
    project: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWORKS_REDIS__URL", "memory://")
    result = invoke("budgets show")
    assert (result.exit_code, "no other process can ask" in result.stderr) == (1, True)


@pytest.mark.parametrize("name", ["acme\udcff", "key:\udcff"])
def test_a_name_that_is_no_text_is_refused_in_one_line(database: None, invoke: Invoke, name: str) -> None:
    done = invoke("budgets set --dollars-per-day 5", name)
    assert done.exit_code == 1
    assert done.stderr == "error [settings_invalid]: an argument or a variable is not UTF-8\n"
