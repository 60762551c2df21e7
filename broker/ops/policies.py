"""Policy documents: which one decides, in place of which other; every one that ever did is kept."""

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound
from broker.ops import projects
from broker.ops.changes import change
from broker.ops.operator import operator
from broker.ops.projects import Address
from broker.policy import policy_set
from broker.policy.policy_set import Activation, Kind, PolicySet
from broker.store import policies
from broker.store.database import Database
from broker.store.operations import Operation, record
from broker.store.policies import Stored

if TYPE_CHECKING:
    from broker.policy.revision import PolicyRevision

DEFAULT = "default"
"""What stands for every project that has no policy of its own, where others have an address."""
PREFIX_MIN = 6


class Changed(NamedTuple):
    """The revisions that decide, or are shadowed, in the place before and after; equal if nothing changed."""

    place: str
    before: str | None
    after: str | None


class Listed(NamedTuple):
    """`live`, `shadow`: the places in which it decides, or does so in the shadow."""

    id: str
    created_ms: int
    live: tuple[str, ...]
    shadow: tuple[str, ...]


async def add(database: Database, revision: "PolicyRevision") -> bool:
    """Keep it, and let it decide nothing. Whether it is new."""
    async with change(database) as connection:
        return await _add(connection, revision)


async def activate(database: Database, revision: "PolicyRevision", address: Address | None = None) -> Changed:
    """It decides the jobs of the project, or of all that have no policy of their own.

    Raises NotFound.
    """
    async with change(database) as connection:
        await _add(connection, revision)
        return await _do(connection, "activate", revision.id, address)


async def rollback(database: Database, address: Address | None = None) -> Changed:
    """The revision before decides again; a project's first gives way to the default.

    Raises NotFound; Conflict where there is none to go back to.
    """
    async with change(database) as connection:
        return await _do(connection, "rollback", None, address)


async def shadow(
    database: Database, revision: "PolicyRevision | None", address: Address | None = None
) -> Changed:
    """It decides beside the live one, and what it says is counted alone; None ends that.

    Raises NotFound.
    """
    async with change(database) as connection:
        if revision is not None:
            await _add(connection, revision)
        return await _do(connection, "shadow", None if revision is None else revision.id, address)


async def list_all(database: Database) -> list[Listed]:
    """The oldest first."""
    async with database.connect() as connection:
        standing = policy_set.after(PolicySet(), await policies.beyond(connection))
        stored = await policies.every(connection)
    names = await _names(database)
    lines = {DEFAULT: standing.default, **{names[id_]: line for id_, line in standing.projects.items()}}
    return [
        Listed(
            each.id,
            each.created_ms,
            tuple(sorted(name for name, line in lines.items() if line.live == each.id)),
            tuple(sorted(name for name, line in lines.items() if line.candidate == each.id)),
        )
        for each in stored
    ]


async def history(database: Database) -> list[tuple[str, Activation]]:
    """Every act with its place, the oldest first."""
    async with database.connect() as connection:
        acts = await policies.beyond(connection)
    names = await _names(database)
    return [(DEFAULT if each.project_id is None else names[each.project_id], each) for each in acts]


async def show(database: Database, prefix: str) -> Stored:
    """The one whose id begins so. Raises NotFound; Conflict where several do, or too little is given."""
    if len(prefix) < PREFIX_MIN:
        raise Conflict(f"give {PREFIX_MIN} characters of the revision at least")
    async with database.connect() as connection:
        found = await policies.find(connection, prefix)
    if not found:
        raise NotFound(f"no policy revision {prefix[:64]!r}; `headworks policy list` names them")
    if len(found) > 1:
        raise Conflict(f"several revisions begin with {prefix}: give more of it")
    return found[0]


async def live(database: Database, address: Address | None = None) -> Stored:
    """The one that decides there. Raises NotFound where none does."""
    async with database.connect() as connection:
        standing = policy_set.after(PolicySet(), await policies.beyond(connection))
        project = None if address is None else await projects.get(connection, address)
        id_ = standing.default.live if project is None else standing.live(project.id)
        if id_ is None:
            raise NotFound("no policy is active: every job passes")
        return (await policies.find(connection, id_))[0]


async def live_id(connection: AsyncConnection, project_id: int) -> str | None:
    """The revision that decides a project's jobs. None: none does."""
    return policy_set.after(PolicySet(), await policies.beyond(connection)).live(project_id)


async def _do(
    connection: AsyncConnection, kind: Kind, revision: str | None, address: Address | None
) -> Changed:
    project_id = None if address is None else (await projects.get(connection, address)).id
    before = policy_set.after(PolicySet(), await policies.beyond(connection))
    act = Activation(0, project_id, kind, revision, 0)
    after = policy_set.after(before, [act])
    old, new = before.line(project_id), after.line(project_id)
    told = (old.candidate, new.candidate) if kind == "shadow" else (old.live, new.live)
    changed = Changed(DEFAULT if address is None else str(address), *told)
    if before != after:
        await policies.append(connection, project_id, kind, revision)
        operation = Operation(
            operator(),
            f"policy.{kind}",
            changed.place,
            {"revision": changed.before},
            {"revision": changed.after},
        )
        await record(connection, operation)
    return changed


async def _add(connection: AsyncConnection, revision: "PolicyRevision") -> bool:
    is_new = await policies.keep(connection, revision.id, revision.text)
    if is_new:
        added = Operation(operator(), "policy.add", revision.id, {}, {"revision": revision.id})
        await record(connection, added)
    return is_new


async def _names(database: Database) -> dict[int, str]:
    """Read after the activations: a project that one of them names is there by then."""
    return {row.id: str(row.address) for row in await projects.list_all(database)}
