"""Policy documents are kept, and what operators did with them can be read in order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from sqlalchemy import select

from broker.errors import Conflict, NotFound
from broker.identity.settings import ProjectSettings
from broker.ops import organizations, policies, projects
from broker.ops.operator import VARIABLE
from broker.ops.projects import Address
from broker.policy.revision import PolicyRevision
from broker.store.database import Database
from broker.store.operations import latest
from broker.store.policies import Policies
from broker.store.tables.identity import directory_revision
from tests.unit.broker.policy.jobs import revision, rule

SEARCH = Address("acme", "search")
A, B, C = (revision(rule(name, "request.n == 2 && has(request.n)")) for name in "abc")


@pytest_asyncio.fixture(autouse=True)
async def project(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setenv(VARIABLE, "ann")
    await organizations.create(database, "acme")
    yield (await projects.create(database, SEARCH, ProjectSettings())).id


async def raised(database: Database) -> int:
    async with database.connect() as connection:
        return int((await connection.execute(select(directory_revision.c.revision))).scalar_one())


async def test_nothing_decides_at_first(database: Database) -> None:
    assert await Policies(database).beyond(0) == []
    assert await Policies(database).texts([]) == {}
    with pytest.raises(NotFound, match="no policy is active"):
        await policies.live(database)
    with pytest.raises(Conflict):
        await policies.rollback(database)


async def test_what_is_activated_decides_and_is_followed_by_its_number(
    database: Database, project: int
) -> None:
    before = await raised(database)
    assert await policies.activate(database, A) == ("default", None, A.id)
    assert await policies.activate(database, B, SEARCH) == ("acme/search", None, B.id)
    assert await raised(database) == before + 2
    acts = await Policies(database).beyond(0)
    assert [(act.number, act.project_id, act.kind, act.revision) for act in acts] == [
        (1, None, "activate", A.id),
        (2, project, "activate", B.id),
    ]
    assert await Policies(database).beyond(1) == acts[1:]
    assert await Policies(database).texts([A.id, B.id]) == {A.id: A.text, B.id: B.text}
    assert (await policies.live(database)).id == A.id
    assert (await policies.live(database, SEARCH)).id == B.id
    assert acts[0].at_ms > 1_600_000_000_000


async def test_rollback_goes_back_and_a_project_gives_way_to_the_default(database: Database) -> None:
    for each in (A, B):
        await policies.activate(database, each)
    await policies.activate(database, C, SEARCH)
    assert await policies.rollback(database) == ("default", B.id, A.id)
    assert await policies.rollback(database, SEARCH) == ("acme/search", C.id, None)
    assert (await policies.live(database, SEARCH)).id == A.id
    with pytest.raises(Conflict, match="no revision to go back to"):
        await policies.rollback(database)


async def test_a_candidate_is_followed_in_the_shadow_and_taken_back(database: Database) -> None:
    await policies.activate(database, A)
    assert await policies.shadow(database, B) == ("default", None, B.id)
    listed = {each.id: (each.live, each.shadow) for each in await policies.list_all(database)}
    assert listed == {A.id: (("default",), ()), B.id: ((), ("default",))}
    assert await policies.shadow(database, None) == ("default", B.id, None)
    kinds = [(place, act.kind) for place, act in await policies.history(database)]
    assert kinds == [("default", "activate"), ("default", "shadow"), ("default", "shadow")]


async def test_what_changes_nothing_is_no_act(database: Database) -> None:
    for _ in range(2):
        await policies.activate(database, A)
    assert len(await Policies(database).beyond(0)) == 1
    found = [row.operation.action for row in await latest(database, 9)]
    assert [action for action in found if action.startswith("policy.")] == ["policy.activate", "policy.add"]


async def test_every_act_is_on_record_with_who_did_it(database: Database) -> None:
    await policies.activate(database, A)
    await policies.activate(database, B, SEARCH)
    await policies.rollback(database, SEARCH)
    found = [row.operation for row in await latest(database, 9, "acme/search")]
    acts = [each for each in found if each.action.startswith("policy.")]
    assert [(each.actor, each.action, dict(each.before), dict(each.after)) for each in acts] == [
        ("ann", "policy.rollback", {"revision": B.id}, {"revision": None}),
        ("ann", "policy.activate", {"revision": None}, {"revision": B.id}),
    ]


async def test_a_revision_is_found_by_the_beginning_of_its_id(database: Database) -> None:
    assert await policies.add(database, A)
    assert not await policies.add(database, A)
    assert (await policies.show(database, A.id[:8])).text == A.text
    with pytest.raises(NotFound):
        await policies.show(database, "%%%%%%%%")
    with pytest.raises(Conflict, match="6 characters"):
        await policies.show(database, A.id[:5])


@pytest.mark.parametrize(
    "document",
    [
        {"rules": [rule(effect="review")]},
        {"injection": {"review_at": 50}},
        {"rules": [rule(regions=["eu"], effect="flag")]},
        {"rules": [rule(when="size(regions) == 0")]},
        {"rules": [rule(when="answer.chars > 9")]},
    ],
)
async def test_all_that_a_document_has_room_for_may_be_activated(
    database: Database, document: dict[str, Any]
) -> None:
    loaded = PolicyRevision.load(orjson.dumps({"version": 1, **document}))
    await policies.activate(database, loaded)
    assert (await policies.live(database)).id == loaded.id


async def test_what_is_refused_changes_nothing(database: Database) -> None:
    before = await raised(database)
    for act in (policies.activate, policies.shadow):
        with pytest.raises(NotFound):
            await act(database, A, Address("acme", "nowhere"))
    assert await policies.list_all(database) == []
    assert await raised(database) == before


async def test_two_operators_at_once_leave_a_line_without_gaps(database: Database, other: Database) -> None:
    await asyncio.gather(policies.activate(database, A), policies.activate(other, B))
    assert [act.number for act in await Policies(database).beyond(0)] == [1, 2]
