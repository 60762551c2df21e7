"""What waits to be reconciled, statements, and what they corrected, from the command line."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from pydantic import SecretStr

from broker.errors import RedisUnavailable
from broker.pricing.book import SHIPPED, PriceBook
from broker.quota.redis_gate import RedisGate
from broker.settings import DatabaseSettings
from broker.store.attempts import Attempts
from broker.store.database import Database
from broker.store.jobs import Jobs
from broker.store.settlement import Settlements
from tests.contracts.store.builders import HOLD, charge, intent, job, settle, settlement, state
from tests.unit.headworks.cli.conftest import Invoke


@pytest.fixture
def jobs(project: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of three charges of 9,000 nanodollars each, all estimated."""

    async def opened(*_: Any) -> RedisGate:
        return RedisGate.embedded(FakeAsyncRedis())

    monkeypatch.setenv("HEADWORKS_REDIS__URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("HEADWORKS_OPERATOR", "fina")
    monkeypatch.setattr(RedisGate, "open", opened)
    invoke(f"apps create shop --project {project}")
    return asyncio.run(_charge(f"sqlite+aiosqlite:///{tmp_path}/headworks.db"))


async def _charge(url: str) -> list[str]:
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    paid = charge(
        usage=None,
        estimated=True,
        nanodollars=HOLD.nanodollars,
        reason="usage_missing",
        price_version=PriceBook.load(SHIPPED).version,
    )
    try:
        states = [state(project_id=1, organization_id=1, charges=(paid,)) for _ in range(3)]
        await Jobs(database).register([job(job_id=each.job_id, project_id=1) for each in states])
        await Attempts(database).begin([intent(job_id=each.job_id, project_id=1) for each in states])
        await settle(Settlements(database), *(settlement(place, each) for place, each in enumerate(states)))
    finally:
        await database.close()
    return [str(each.job_id) for each in states]


def _file(path: Path, *rows: str, header: str = "job,run,attempt,dollars") -> str:
    path.write_text("\n".join([header, *rows, ""]))
    return str(path)


def test_from_the_list_of_open_charges_to_a_bill_that_has_the_difference(
    jobs: list[str], invoke: Invoke, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("ledger estimated --csv").stdout)))
    assert {row["job"] for row in rows} == set(jobs)
    assert {row["application"] for row in rows} == {"shop"}
    filled = tmp_path / "filled.csv"
    with filled.open("w") as file:
        writer = csv.DictWriter(file, [*rows[0], "dollars"])
        writer.writeheader()
        writer.writerows(row | {"dollars": "0.000001"} for row in rows[:2])
    result = invoke(f"ledger reconcile {filled} --reference INV-7")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert result.stdout.splitlines() == [
        "rows: 2; corrected: 2; already so: 0",
        "before 0.000018000 dollars, now 0.000002000: -0.000016000",
    ]
    assert len(json.loads(invoke("ledger estimated --json").stdout)) == 1
    written = json.loads(invoke("ledger corrections --json").stdout)
    assert {(row["operator"], row["reference"], row["nanodollars"]) for row in written} == {
        ("fina", "INV-7", -8_000)
    }
    (bill,) = json.loads(invoke("usage --by organization --json").stdout)
    figures = "nanodollars", "estimated_nanodollars", "corrected_nanodollars", "attempts"
    assert [bill[name] for name in figures] == [11_000, 27_000, -16_000, 3]
    headings, *_ = invoke("usage --by organization").stdout.splitlines()
    assert headings.split()[-3:] == ["estimated", "corrected", "dollars"]
    assert "-$0.000008, now $0.000001, fina, INV-7" in invoke(f"jobs show {rows[0]['job']}").stdout
    assert invoke("ledger verify").stdout == "No difference.\n"


def test_the_same_file_again(jobs: list[str], invoke: Invoke, tmp_path: Path) -> None:
    file = _file(tmp_path / "one.csv", f"{jobs[0]},1,1,0.000001")
    first = json.loads(invoke(f"ledger reconcile {file} --json").stdout)
    assert (first["corrected"], first["already"], first["reconciliations"]) == (1, 0, [1])
    again = json.loads(invoke(f"ledger reconcile {file} --json").stdout)
    assert (again["corrected"], again["already"], again["reconciliations"]) == (0, 1, [])


def test_a_dry_run_writes_nothing(jobs: list[str], invoke: Invoke, tmp_path: Path) -> None:
    file = _file(tmp_path / "one.csv", f"{jobs[0]},1,1,0.02")
    result = invoke(f"ledger reconcile {file} --dry-run")
    assert result.stdout.startswith("rows: 1; to be corrected: 1; already so: 0\n")
    assert result.stderr == "1 of them cost more than was held for them\n"
    assert invoke("ledger corrections").stderr == "Nothing was reconciled.\n"


def test_faults_are_told_with_their_lines(jobs: list[str], invoke: Invoke, tmp_path: Path) -> None:
    file = _file(tmp_path / "bad.csv", f"{jobs[0]},1,1,-1", f"{jobs[1]},1,1,0.1", f"{jobs[1]},1,1,0.1")
    result = invoke(f"ledger reconcile {file}")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second, last = result.stderr.splitlines()
    assert first.startswith("line 2: value_invalid: dollars: '-1' is not an amount")
    assert second == "line 4: row_repeated: line 3 is about the same charge: leave one of them"
    assert last == "error [statement_refused]: nothing was written"
    told = json.loads(invoke(f"ledger reconcile {file} --json").stdout)
    assert [fault["code"] for fault in told["faults"]] == ["value_invalid", "row_repeated"]


def test_another_figure_wants_amend(jobs: list[str], invoke: Invoke, tmp_path: Path) -> None:
    one = _file(tmp_path / "one.csv", f"{jobs[0]},1,1,0.000001")
    other = _file(tmp_path / "other.csv", f"{jobs[0]},1,1,0.000002")
    assert invoke(f"ledger reconcile {one} --reference INV-7").exit_code == 0
    refused = invoke(f"ledger reconcile {other}")
    assert refused.exit_code == 1
    assert "already_corrected: corrected before to $0.000001, by INV-7; --amend" in refused.stderr
    assert invoke(f"ledger reconcile {other} --amend").exit_code == 0


def test_a_file_that_was_amended_since_says_so(jobs: list[str], invoke: Invoke, tmp_path: Path) -> None:
    one = _file(tmp_path / "one.csv", f"{jobs[0]},1,1,0.000001")
    other = _file(tmp_path / "other.csv", f"{jobs[0]},1,1,0.000002")
    invoke(f"ledger reconcile {one}")
    invoke(f"ledger reconcile {other} --amend")
    again = invoke(f"ledger reconcile {one} --amend --json")
    assert again.exit_code == 0
    assert again.stderr.startswith("1 rows of this file were corrected again since")
    assert json.loads(again.stdout)["overtaken"] == 1
    assert invoke(f"ledger reconcile {other}").stderr == ""


def test_a_file_that_breaks_off_is_told(
    jobs: list[str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("headworks.cli.reconcile._standard_input", Broken)
    result = invoke("ledger reconcile -")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "- cannot be read: Input/output error" in result.stderr


def test_from_standard_input(jobs: list[str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f'{{"job": "{jobs[0]}", "run": 1, "attempt": 1, "dollars": "0"}}\n'.encode()
    monkeypatch.setattr("headworks.cli.reconcile._standard_input", lambda: io.BytesIO(content))
    assert invoke("ledger reconcile -").stdout.startswith("rows: 1; corrected: 1;")


def test_while_redis_is_away_it_is_left_to_the_workers(
    jobs: list[str], invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> RedisGate:
        raise RedisUnavailable("Redis is away")

    file = _file(tmp_path / "one.csv", f"{jobs[0]},1,1,0.000001")
    with monkeypatch.context() as patched:
        patched.setattr(RedisGate, "open", away)
        result = invoke(f"ledger reconcile {file}")
    assert result.exit_code == 0
    assert result.stderr.startswith("Budgets: Redis is away: ")


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ("ledger reconcile none.csv", 1, "none.csv cannot be read: No such file or directory"),
        ("ledger reconcile .", 1, "cannot be read: Is a directory"),
        ("ledger estimated --project acme/none", 1, "no project acme/none"),
        ("ledger estimated --month 2026-13", 2, "2026-13"),
        ("ledger reconcile - --reference \x00", 2, "printable"),
    ],
)
def test_what_is_not_there(jobs: list[str], invoke: Invoke, options: str, status: int, told: str) -> None:
    result = invoke(options)
    assert (result.exit_code, result.stdout) == (status, "")
    assert told in result.stderr


def test_nothing_waits(project: str, invoke: Invoke) -> None:
    assert invoke("ledger estimated").stderr == "Nothing waits to be reconciled.\n"
    assert json.loads(invoke("ledger estimated --json").stdout) == []
    assert len(invoke("ledger corrections --csv").stdout.splitlines()) == 1


def test_what_waits_as_people_read_it(jobs: list[str], invoke: Invoke) -> None:
    result = invoke("ledger estimated")
    headings, *rows = result.stdout.splitlines()
    assert headings.split()[-2:] == ["reason", "dollars"]
    assert len(rows) == 3
    assert rows[0].split()[-2:] == ["usage_missing", "0.000009000"]
    assert result.stderr == "3 rows; 0.000027000 dollars are charged by holds\n"
