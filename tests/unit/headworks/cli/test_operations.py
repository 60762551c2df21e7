"""Whatever an operator changes by a command is on the record of operations: who, what, and what it was."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from broker.identity.credential import Credential
from broker.ops import applications
from broker.ops.projects import Address
from broker.policy.revision import PolicyRevision
from broker.settings import DatabaseSettings
from broker.store.database import Database
from tests.unit.headworks.cli.conftest import Invoke
from tests.unit.headworks.cli.holding import hold
from tests.unit.headworks.cli.test_commands import LEAVES
from tests.unit.headworks.cli.test_prices import OWN

READING = {
    *("doctor", "db check", "topics check", "topics list", "orgs show", "orgs list", "projects show"),
    *("projects list", "apps list", "keys show", "keys list", "webhooks list", "jobs show", "prices list"),
    *("prices diff", "policy test", "policy diff", "policy eval", "policy scan", "policy list"),
    *("policy show", "policy explain", "budgets show", "budgets history", "usage", "ledger verify"),
    *("ledger estimated", "ledger corrections"),
    *("dead list", "keys generate-secret", "review list", "review show", "review reviewers"),
}
"""What changes nothing. `review show --prompt` leaves an entry: `tests/integration/test_review.py` has it."""

ELSEWHERE = {
    **dict.fromkeys(("run", "submit", "jobs cancel"), "an application does it, and the ledger has it"),
    **dict.fromkeys(("demo", "dev"), "an installation of its own, gone at its end"),
    "simulate": "no part of an installation",
    "worker": "the table of workers has it",
    "ledger reconcile": "an entry a thousand rows: `test_reconcile` has it",
}
"""What changes something that has a record of its own, or needs none."""

CHANGING = {
    "topics apply": "topics.apply",
    "prices import --from own.json --output prices.json": "price_book.import",
    "orgs create bolt": "organization.create",
    "orgs set acme --time-zone Europe/Berlin": "organization.set",
    "projects create acme/lab": "project.create",
    "projects set acme/search --model gpt-4o": "project.set",
    "apps create {fresh} --project acme/search": "application.create",
    "keys create indexer": "key.create",
    "keys revoke {key}": "key.revoke",
    "webhooks add acme https://hooks.example.com/hush?token=hush": "webhook.add",
    "webhooks remove {webhook}": "webhook.remove",
    "review approve {held} --why Fine": "review.approve",
    "review deny {other} --why No": "review.deny",
    "review appoint bob": "reviewer.appoint",
    "review dismiss bob": "reviewer.dismiss",
    "policy activate other.yaml": "policy.activate",
    "policy rollback --project acme/search": "policy.rollback",
    "policy shadow other.yaml": "policy.shadow",
    "budgets set acme --dollars-per-day 5": "organization.set",
    "budgets raise acme/search --dollars-per-day 6": "project.set",
    "dead show {buried} --value letter.bin": "dead_letter.read",
}
"""Commands, and the action that they leave; of `db upgrade` see below."""

AGAIN = (
    "keys revoke {key}",
    "webhooks remove {webhook}",
    "topics apply",
    "prices import --from own.json --output prices.json",
)


def _names(path: tuple[str, ...]) -> str:
    return " ".join(path)


def _policy(path: Path, effect: str) -> None:
    path.write_text(
        f"version: 1\nrules:\n  - id: all\n    description: d\n    when: 'true'\n    effect: {effect}\n"
    )


async def _make_application(url: str, name: str) -> None:
    """Without its topics."""
    database = await Database.open(DatabaseSettings(url=SecretStr(url)))
    try:
        await applications.create(database, name, Address("acme", "search"))
    finally:
        await database.close()


def _entries(invoke: Invoke) -> list[dict[str, Any]]:
    """The latest first."""
    done = invoke("budgets history --limit 999 --json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def known(buried: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """One of everything that can be changed, by its name."""
    monkeypatch.setenv("HEADWORKS_OPERATOR", "ann")
    url = f"sqlite+aiosqlite:///{tmp_path}/headworks.db"
    asyncio.run(_make_application(url, f"a{uuid4().hex[:8]}"))
    (tmp_path / "own.json").write_text(json.dumps([OWN]))
    _policy(tmp_path / "policy.yaml", "allow")
    _policy(tmp_path / "other.yaml", "flag")
    for command in (
        "policy activate policy.yaml --project acme/search",
        "review appoint ann",
        "budgets set acme/search --dollars-per-day 5",
    ):
        done = invoke(command)
        assert done.exit_code == 0, done.output
    added = invoke("webhooks add acme https://hooks.example.com/")
    revision = PolicyRevision.load((tmp_path / "policy.yaml").read_text()).id
    held, other = asyncio.run(hold(url, revision))
    return {
        "buried": buried,
        "held": held,
        "other": other,
        "fresh": f"a{uuid4().hex[:8]}",
        "key": Credential.parse(invoke("keys create indexer").stdout).key_id,
        "webhook": added.stderr.removeprefix("Added webhook ").partition(".")[0],
    }


def test_of_every_command_it_is_known_whether_it_changes_something() -> None:
    changing = {"db upgrade", *(" ".join(command.split()[:2]) for command in CHANGING)}
    known = [*READING, *ELSEWHERE, *changing]
    assert sorted(known) == sorted({_names(path) for path in LEAVES})


def test_every_change_leaves_an_entry(known: dict[str, str], invoke: Invoke) -> None:
    """All in one installation, for it takes long to make."""
    secrets = ["hush", "a prompt"]
    for command, action in CHANGING.items():
        before = _entries(invoke)
        done = invoke(command.format(**known))
        assert done.exit_code == 0, done.output
        entries = _entries(invoke)
        assert len(entries) > len(before), f"{command} leaves no entry"
        assert (entries[0]["who"], entries[0]["what"]) == ("ann", action)
        secrets += [line for line in done.stdout.splitlines() if line.startswith(("whsec_", "hw"))]
    told = json.dumps(_entries(invoke))
    assert len(secrets) == 4
    assert not any(secret in told for secret in secrets)
    for again in AGAIN:
        before = _entries(invoke)
        assert invoke(again.format(**known)).exit_code == 0
        assert _entries(invoke) == before, f"{again} changes nothing, and leaves an entry"


def test_to_make_the_tables_leaves_an_entry_and_to_make_them_again_does_not(invoke: Invoke) -> None:
    for _ in range(2):
        assert invoke("db upgrade").exit_code == 0
        [entry] = _entries(invoke)
        assert (entry["what"], entry["before"]) == ("database.upgrade", {"revision": None})
