"""What was spent, from the command line."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from broker.settings import DatabaseSettings
from broker.store.database import Database
from broker.store.settlement import Settlements
from broker.store.usage import BILL_BY, BillRow
from headworks.cli.bill import bill_table
from headworks.cli.usage import NAMES, inert, write_csv
from tests.contracts.store.builders import HOLD, charge, settle, settlement, state
from tests.unit.headworks.cli.conftest import Invoke

LATER = HOLD.model_copy(update={"day": 20_100, "month": 2025 * 12})


async def _spend(url: str, ids: dict[str, Any]) -> None:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        own = state(**ids, charges=(charge(nanodollars=2_000_000_000),))
        later = state(**ids, model="a-model-with-a-rather-long-name-2026", charges=(charge(hold=LATER),))
        other = state(project_id=99, application_id=99, charges=(charge(nanodollars=1),))
        await settle(Settlements(database), settlement(0, own), settlement(1, later), settlement(2, other))
    finally:
        await database.close()


@pytest.fixture
def spent(project: str, invoke: Invoke, tmp_path: Path) -> None:
    invoke(f"apps create indexer --project {project}")
    ids: dict[str, Any] = {"project_id": 1, "application_id": 1}
    asyncio.run(_spend(f"sqlite+aiosqlite:///{tmp_path}/headworks.db", ids))


def _read(invoke: Invoke, options: str) -> list[dict[str, Any]]:
    result = invoke(f"usage --json {options}")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_way_to_sum_has_its_name() -> None:
    assert tuple(NAMES.split(", ")) == BILL_BY


def test_nothing_spent(database: None, invoke: Invoke) -> None:
    assert invoke("usage").stderr == "Nothing spent yet.\n"
    assert _read(invoke, "") == []


def test_by_project(spent: None, invoke: Invoke) -> None:
    own, other = _read(invoke, "")
    assert (own["project"], own["jobs"], own["attempts"]) == ("acme/search", 2, 2)
    assert (own["input_tokens"], own["output_tokens"], own["nanodollars"]) == (160, 40, 2_000_004_200)
    assert (other["project"], other["nanodollars"]) == (None, 1)


def test_of_one_project_or_application_alone(spent: None, invoke: Invoke) -> None:
    for option in ("--project acme/search", "--application indexer"):
        assert [row["model"] for row in _read(invoke, f"--by model {option}")] == [
            "gpt-4o",
            "a-model-with-a-rather-long-name-2026",
        ]


def test_from_a_day_on(spent: None, invoke: Invoke) -> None:
    assert [row["day"] for row in _read(invoke, "--by day")] == ["2024-10-04", "2025-01-12"]
    assert [row["day"] for row in _read(invoke, "--by day --since 2024-10-05")] == ["2025-01-12"]
    assert len(_read(invoke, "--by day --since 2024-10-04")) == 2


def test_of_a_month_or_up_to_a_day(spent: None, invoke: Invoke) -> None:
    assert [row["day"] for row in _read(invoke, "--by day --month 2024-10")] == ["2024-10-04"]
    assert [row["day"] for row in _read(invoke, "--by day --until 2024-10-04")] == ["2024-10-04"]
    assert _read(invoke, "--month 2024-12") == []


def test_by_several(spent: None, invoke: Invoke) -> None:
    first, *_ = _read(invoke, "--by project,model,day")
    assert (first["project"], first["model"], first["day"]) == ("acme/search", "gpt-4o", "2024-10-04")


def test_csv_sums_to_the_ledger(spent: None, invoke: Invoke) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("usage --csv --by project,model").stdout)))
    assert rows[0]["project"] == "acme/search"
    assert sum(int(row["nanodollars"]) for row in rows) == 2_000_004_201


def test_by_month(spent: None, invoke: Invoke) -> None:
    found = _read(invoke, "--by month,model")
    assert [(row["month"], row["nanodollars"]) for row in found] == [
        ("2024-10", 2_000_000_001),
        ("2025-01", 4_200),
    ]


@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\uff1d1"])
def test_no_spreadsheet_takes_a_tag_for_a_formula(label: str) -> None:
    assert inert({"user": label, "jobs": 1}) == {"user": f"'{label}", "jobs": 1}


def test_a_tag_does_not_end_its_cell_where_columns_are_divided_by_semicolons() -> None:
    written = io.StringIO()
    write_csv(written, ["model", "jobs"], [{"model": 'a";=1+1', "jobs": 2}])
    assert written.getvalue() == 'model,jobs\n"a"";=1+1",2\n'


def test_people_read_dollars_and_a_total(spent: None, invoke: Invoke) -> None:
    lines = invoke("usage --by model").stdout.splitlines()
    assert lines[0].split() == ["model", "jobs", "attempts", "tokens", "in", "tokens", "out", "dollars"]
    assert lines[1].split() == ["gpt-4o", "2", "2", "160", "40", "2.000000001"]
    assert lines[-1].split() == ["total", "3", "240", "60", "2.000004201"]


def test_what_is_estimated_has_a_column_where_anything_is() -> None:
    rows = [BillRow(("a",), 1, 2, 80, 20, 4_205, 5), BillRow(("b",), 1, 1, 80, 20, 7)]
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(bill_table(["model"], rows))
    headings, first, second, total = (line.split() for line in captured.get().splitlines())
    assert headings[-2:] == ["estimated", "dollars"]
    assert first[-2:] == ["0.000000005", "0.000004205"]
    assert second[-2:] == ["0.000000000", "0.000000007"]
    assert total[-2:] == ["0.000000005", "0.000004212"]


def test_nothing_of_a_time_is_not_nothing_at_all(spent: None, invoke: Invoke) -> None:
    assert invoke("usage --month 2024-12").stderr == "Nothing spent of what this asks for.\n"


def _shown(label: str) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(bill_table(["model"], [BillRow((label,), 100, 100, 1_000_000, 1_000_000, 10**12)]))
    return captured.get().splitlines()


def test_a_label_cannot_command_the_terminal() -> None:
    assert _shown("\x1b[31mred")[1].startswith("?[31mred ")


def test_on_a_narrow_terminal_a_long_name_is_whole() -> None:
    name = "a-model-with-a-rather-long-name-2026"
    lines = _shown(name)
    assert max(map(len, lines)) <= 80
    assert "".join(line.split(" ")[0] for line in lines[1:]) == name
    assert "1000.000000000" in lines[1]


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ("--project search", 1, "organization/project"),
        ("--project acme/none", 1, "no project acme/none"),
        ("--application none", 1, "no application none"),
        ("--since yesterday", 2, "yesterday"),
        ("--by colour", 2, "colour"),
        ("--by project,colour", 2, "colour"),
        ("--by project,project", 2, "twice"),
        ("--month 2025-01 --since 2025-01-01", 2, "--since"),
        ("--since 2025-01-02 --until 2025-01-01", 2, "before"),
    ],
)
def test_what_is_not_there(project: str, invoke: Invoke, options: str, status: int, told: str) -> None:
    result = invoke(f"usage {options}")
    assert (result.exit_code, result.stdout) == (status, "")
    assert told in result.stderr
