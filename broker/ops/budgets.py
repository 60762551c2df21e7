"""Budgets of organizations, projects and keys: what they allow, what is used of it, and how long it lasts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from sqlalchemy import select

from broker.errors import SettingsInvalid
from broker.identity.settings import read_settings
from broker.ops import applications, keys, organizations, projects
from broker.ops.changes import anything
from broker.ops.projects import Address
from broker.quota.budget import ORGANIZATION_NODE, key_node, project_node
from broker.quota.counters import Counters, NodeOf
from broker.quota.forecast import Pace, runs_out_ms
from broker.quota.gate import Gate
from broker.quota.limits import REASONS, Limits, Reason
from broker.store.database import Database
from broker.store.parking import Parking
from broker.store.tables import identity
from broker.store.usage import Usage

WAKE_AFTER_MS: Final = 1_000
"""After a budget was changed, until the jobs that wait for it are tried: by then most workers know of it."""

PACE_MS: Final = 3_600_000
"""A forecast goes by what was used in the hour before."""

_KEY: Final = "key:"


class Subject(NamedTuple):
    """What a budget is of: written `acme`, `acme/search` or `key:3f9a1c0b5d7e2468`."""

    kind: Literal["organization", "project", "key"]
    name: str

    def __str__(self) -> str:
        return _KEY + self.name if self.kind == "key" else self.name

    @classmethod
    def parse(cls, text: str) -> Self:
        if text.startswith(_KEY):
            return cls("key", text.removeprefix(_KEY))
        return cls("project" if "/" in text else "organization", text)


class Found(NamedTuple):
    """A subject as it is in the database."""

    subject: Subject
    organization_id: int
    project_id: int | None
    key_id: str | None
    node: str
    limits: Limits


class Standing(NamedTuple):
    """One limit of a subject."""

    subject: str
    limit: Reason
    cap: int
    used: int
    """Spent and held together."""
    left: int
    until_ms: int | None
    """When its window ends; jobs in flight have none."""
    runs_out_ms: int | None
    """At the pace of the hour before; None where it lasts until the window ends, or is of no day or month."""


async def find(database: Database, subject: Subject) -> Found:
    """Raises NotFound, and SettingsInvalid on a name that can be none."""
    if subject.kind == "organization":
        owner = await organizations.show(database, subject.name)
        return Found(subject, owner.id, None, None, ORGANIZATION_NODE, owner.settings)
    if subject.kind == "project":
        address = Address.parse(subject.name)
        project = await projects.show(database, address)
        owner = await organizations.show(database, address.organization)
        return Found(subject, owner.id, project.id, None, project_node(project.id), project.settings)
    key = await keys.show(database, subject.name)
    application = await applications.show(database, key.application)
    owner = await organizations.show(database, application.project.organization)
    return Found(subject, owner.id, None, key.id, key_node(key.id), key.settings)


async def set_limits(database: Database, subject: Subject, changes: Mapping[str, Any]) -> Found:
    """Change the named settings, and let the jobs be tried that wait for the subject's budgets.

    Raises NotFound, and SettingsInvalid on an unknown field or a value out of bounds.
    """
    return await _set(database, subject, changes, anything)


async def _set(
    database: Database, subject: Subject, changes: Mapping[str, Any], check: Callable[[Limits], None]
) -> Found:
    changed = dict(changes)
    if subject.kind == "organization":
        await organizations.set_settings(database, subject.name, changed, check)
    elif subject.kind == "project":
        await projects.set_settings(database, Address.parse(subject.name), changed, check)
    else:
        await keys.set_settings(database, subject.name, changed, check)
    found = await find(database, subject)
    await let_go_on(database, found)
    return found


async def let_go_on(database: Database, found: Found) -> None:
    """Let the jobs be tried that wait for the subject's budgets, once the workers know of a change.

    A worker that parks a job by the old limits after this finds the change then, and has it tried again.
    """
    parking = Parking(database)
    for project_id in await _projects(database, found):
        await parking.wake(project_id, WAKE_AFTER_MS)


async def raise_limits(database: Database, subject: Subject, changes: Mapping[str, Any]) -> Found:
    """As `set_limits`, and raises SettingsInvalid where a limit would not become higher."""
    wanted = read_settings(Limits, str(subject), dict(changes))

    def check(limits: Limits) -> None:
        for name in changes:
            present, value = getattr(limits, name), getattr(wanted, name)
            if present is None:
                raise SettingsInvalid(f"{subject} has no {name} to raise; `headworks budgets set` makes one")
            if value is not None and value <= present:
                raise SettingsInvalid(f"{name} of {subject} is {present} already: {value} does not raise it")

    return await _set(database, subject, changes, check)


async def standings(database: Database, gate: Gate, found: Sequence[Found]) -> list[Standing]:
    """Every limit that is set. Raises Unavailable."""
    counters = await gate.counters([NodeOf(each.organization_id, each.node) for each in found])
    rows: list[Standing] = []
    for each, counted in zip(found, counters, strict=True):
        capped = [name for name in REASONS if getattr(each.limits, name) is not None]
        if capped:
            paces = await _paces(database, each)
            rows += [_standing(each, name, counted, paces) for name in capped]
    return rows


async def _paces(database: Database, found: Found) -> dict[str, Pace]:
    nanodollars, tokens = await Usage(database).of_late(
        PACE_MS,
        organization_id=found.organization_id,
        project_id=found.project_id,
        key_id=found.key_id,
    )
    return {"nanodollars": Pace(nanodollars, PACE_MS), "tokens": Pace(tokens, PACE_MS)}


def _standing(found: Found, limit: Reason, counted: Counters, paces: Mapping[str, Pace]) -> Standing:
    cap, used = getattr(found.limits, limit), counted.amount(limit)
    windows = counted.windows
    now_ms = windows.minute * 60_000
    ends = {
        "minute": now_ms + 60_000,
        "day": windows.day_ends_ms,
        "month": windows.month_ends_ms,
        "flight": None,
    }
    until_ms = ends[limit.rsplit("_", 1)[-1]]
    pace = paces.get(limit.split("_", 1)[0])
    lasts = pace is not None and until_ms is not None and not limit.endswith("minute")
    runs_out = runs_out_ms(cap - used, pace, now_ms, until_ms) if lasts and pace and until_ms else None
    return Standing(str(found.subject), limit, cap, used, max(0, cap - used), until_ms, runs_out)


async def all_subjects(database: Database) -> list[Subject]:
    """Every organization, with its projects, then the keys that have limits of their own."""
    owners = [Subject("organization", each.name) for each in await organizations.list_all(database)]
    within = [Subject("project", str(each.address)) for each in await projects.list_all(database)]
    limited = [each for each in await keys.list_all(database) if any(_caps(each.settings))]
    return [*owners, *within, *(Subject("key", each.id) for each in limited)]


def _caps(limits: Limits) -> list[int]:
    return [cap for name in REASONS if (cap := getattr(limits, name)) is not None]


async def _projects(database: Database, found: Found) -> list[int]:
    """Those whose jobs may wait for the subject's budgets."""
    if found.project_id is not None:
        return [found.project_id]
    if found.key_id is not None:
        of_key = (
            select(identity.applications.c.project_id)
            .join(identity.keys, identity.keys.c.application_id == identity.applications.c.id)
            .where(identity.keys.c.id == found.key_id)
        )
    else:
        of_key = select(identity.projects.c.id).where(
            identity.projects.c.organization_id == found.organization_id
        )
    async with database.connect() as connection:
        return list(await connection.scalars(of_key))
