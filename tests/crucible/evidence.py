"""Waits until all is quiet, and gathers what is on record into a history."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from schemas import headers, topics
from schemas.topics import Lane, RetryDelay
from tests.crucible.arena import HOLD_TTL_S, Arena
from tests.crucible.gauges import Gauges
from tests.crucible.history import (
    Attempt,
    AttemptId,
    Call,
    Charge,
    History,
    Reply,
    Sample,
    Step,
    Terminal,
    Verdict,
)
from tests.crucible.nemesis import Nemesis
from tests.crucible.patience import within
from tests.crucible.traffic import TTL_S, Traffic
from tests.stack.account import logged
from tests.stack.ledger import Rows
from tests.stack.raw import read_all

_ENDS_WITHIN_S = TTL_S + 45.0
"""A job past its deadline ends by then, whatever held it up."""
_QUIET_WITHIN_S = 20.0
_WAY = (
    *(
        topic(lane)
        for topic in (topics.jobs, topics.admitted, topics.reserved, topics.outcomes)
        for lane in Lane
    ),
    *map(topics.retry, RetryDelay),
    topics.PARKED,
)
_CLOSING = 900_000
"""Numbers of the jobs that only make the gate look at its holds."""


async def quiet(
    arena: Arena, traffics: Sequence[Traffic], gauges: Gauges, say: Callable[[str], None]
) -> None:
    """Return when every job has its reply and nothing is held, or when there is no use in waiting longer."""

    async def ended() -> bool:
        published = {job.job_id for traffic in traffics for job in traffic.published}
        terminals = await _rows(arena.stack.ledger.terminals, traffics)
        return published <= {row.job_id for row in terminals}

    async def answered() -> bool:
        published = {job.job_id for traffic in traffics for job in traffic.published}
        return published <= {reply.job_id for reply in await replies(arena, traffics)}

    async def freed() -> bool:
        return await gauges.holds() == []

    await within(_ENDS_WITHIN_S, ended)
    say("every job has ended; waiting for replies and holds")
    await within(_QUIET_WITHIN_S, answered)
    if not await within(HOLD_TTL_S + 1.0, freed):
        say("something is held yet: one job more for each application")
        await asyncio.gather(*(traffic.send(_CLOSING) for traffic in traffics))
        await within(_ENDS_WITHIN_S, answered)
        await within(_QUIET_WITHIN_S, freed)


async def history(
    arena: Arena,
    traffics: Sequence[Traffic],
    budgets: dict[str, int],
    gauges: Gauges,
    nemesis: Nemesis,
) -> History:
    ledger = arena.stack.ledger
    owners = {row.incarnation: row for row in await ledger.workers()}
    return History(
        budgets=budgets,
        published=tuple(job for traffic in traffics for job in traffic.published),
        steps=tuple(await _steps(arena)),
        calls=tuple(map(_call, await logged(arena.provider))),
        attempts=tuple(
            _attempt(row, owners.get(row.owner)) for row in await _rows(ledger.attempts, traffics)
        ),
        verdicts=tuple(
            Verdict(_id(row), row.kind, row.reason, row.at_ms / 1000)
            for row in await _rows(ledger.verdicts, traffics)
        ),
        terminals=tuple(
            Terminal(row.job_id, row.run, row.kind, row.value_sha256, row.nanodollars)
            for row in await _rows(ledger.terminals, traffics)
        ),
        charges=await _charges(arena, traffics),
        replies=tuple(await replies(arena, traffics)),
        samples=tuple(sorted(gauges.samples, key=_order)),
        at_rest=tuple(await gauges.read()),
        holds=tuple(await gauges.holds()),
        harms=tuple(nemesis.harms),
        errors=tuple(nemesis.errors),
    )


async def replies(arena: Arena, traffics: Iterable[Traffic]) -> list[Reply]:
    """Every record of the reply topics."""
    found = []
    for traffic in traffics:
        topic = topics.replies(traffic.source.application)
        for record in await read_all(arena.stack.settings.kafka, topic):
            told = dict(record.headers)
            value = record.value or b""
            found.append(
                Reply(
                    UUID(told[headers.CORRELATION_ID].decode()),
                    int(told[headers.RUN]),
                    hashlib.sha256(value).hexdigest(),
                    orjson.loads(value)["cost_nanodollars"],
                    record.timestamp / 1000,
                )
            )
    return found


async def _steps(arena: Arena) -> list[Step]:
    """Every record of the topics that the stages read."""
    kafka = arena.stack.settings.kafka
    return [
        Step(UUID(told[headers.CORRELATION_ID].decode()), topic, record.timestamp / 1000)
        for topic in _WAY
        for record in await read_all(kafka, topic)
        if (told := dict(record.headers)).keys() >= {headers.CORRELATION_ID}
    ]


async def _charges(arena: Arena, traffics: Iterable[Traffic]) -> tuple[Charge, ...]:
    found: list[Charge] = []
    for traffic in traffics:
        project = traffic.source.project
        rows = await arena.stack.ledger.charges(traffic.source.application)
        found += [
            Charge(_id(row), project, row.day, row.hold_id, row.verdict, row.nanodollars) for row in rows
        ]
    return tuple(found)


async def _rows(read: Callable[[str], Awaitable[Rows]], traffics: Iterable[Traffic]) -> list[Any]:
    return [row for traffic in traffics for row in await read(traffic.source.application)]


def _id(row: Any) -> AttemptId:
    return AttemptId(row.job_id, row.run, row.attempt)


def _attempt(row: Any, owner: Any) -> Attempt:
    if owner is None:
        return Attempt(_id(row), None, row.started_ms / 1000)
    return Attempt(_id(row), owner.pid, row.started_ms / 1000, owner.lease_until_ms / 1000)


def _call(line: Mapping[str, Any]) -> Call:
    return Call(AttemptId(UUID(line["job_id"]), line["run"], line["attempt"]), line["t"], line["status"])


def _order(sample: Sample) -> tuple[str, int, int, int]:
    return sample.project, sample.day, sample.spent, sample.held
