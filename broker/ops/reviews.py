"""Jobs that wait for a reviewer: which there are, what is in them, and what a reviewer says."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import Conflict, NotFound, SettingsInvalid
from broker.kafka.reading import CoordinateReader
from broker.ops import reviewers
from broker.ops.changes import act
from broker.settings import Settings
from broker.store import reviews
from broker.store.database import Database
from broker.store.operations import Operation, record
from broker.store.parking import hasten
from broker.store.reviews import Review, Said
from schemas import topics
from schemas.topics import Coordinate

PREFIX_MIN: Final = 6
WHY_CHARS_MAX: Final = 500
_DONE: Final[Mapping[Said, str]] = {"approved": "review.approve", "denied": "review.deny"}


async def list_waiting(database: Database, limit: int) -> list[Review]:
    """The shortest time left first."""
    async with database.connect() as connection:
        return await reviews.waiting(connection, limit)


async def get(database: Database, prefix: str) -> Review:
    """The one whose id begins so. Raises NotFound; Conflict where several do, or too little is given."""
    async with database.connect() as connection:
        return await _get(connection, prefix)


async def prompt(settings: Settings, database: Database, review: Review) -> bytes:
    """The envelope that goes on if it is approved, without what policy took out. That it is read is put on
    the record of operations first.

    Raises RoleMissing; NotFound where Kafka keeps it no more; Conflict where it is not what was held.
    """
    value = await _value(settings, review)
    async with act(database) as connection:
        name = await reviewers.require(connection)
        await record(connection, Operation(name, "review.read", review.row.id, {}, _about(review)))
    return value


async def deny(database: Database, prefix: str, why: str) -> Review:
    """The job is refused. Raises NotFound, Conflict, RoleMissing, SettingsInvalid as `rule` does."""
    async with act(database) as connection:
        return await rule(connection, await _get(connection, prefix), "denied", why)


async def rule(connection: AsyncConnection, review: Review, said: Said, why: str) -> Review:
    """Within an act: put on record, audited, and the job woken, all or nothing.

    Raises RoleMissing; Conflict where it is decided, too late, or called off; SettingsInvalid where no reason
    is given.
    """
    if not (why.strip() and len(why) <= WHY_CHARS_MAX and why.isprintable()):
        raise SettingsInvalid(f"say why in 1 to {WHY_CHARS_MAX} printable characters")
    name = await reviewers.require(connection)
    row = review.row
    if not await reviews.decide(connection, row.key, said, name, why):
        raise Conflict(_not_open(await _get(connection, row.id)))
    await hasten(connection, [row.key.job])
    after = {**_about(review), "verdict": said, "why": why}
    await record(connection, Operation(name, _DONE[said], row.id, {}, after))
    return await _get(connection, row.id)


async def _get(connection: AsyncConnection, prefix: str) -> Review:
    if len(prefix) < PREFIX_MIN:
        raise Conflict(f"give {PREFIX_MIN} characters of the review's id at least")
    found = await reviews.find(connection, prefix)
    if not found:
        raise NotFound(f"no review {prefix[:32]!r}; `headworks review list` names those that wait")
    if len(found) > 1:
        raise Conflict(f"several reviews begin with {prefix}: give more of it")
    return found[0]


async def _value(settings: Settings, review: Review) -> bytes:
    row = review.row
    at = Coordinate(topics.PARKED, row.partition, row.offset)
    reader = CoordinateReader(settings.kafka)
    try:
        await reader.start()
        found = (await reader.read([at])).get(at)
    finally:
        await reader.stop()
    if found is None:
        raise NotFound("the job's record is no longer kept in Kafka")
    value: bytes = found.value or b""
    if hashlib.sha256(value).hexdigest() != row.value_sha256:
        raise Conflict(f"what Kafka has at {at} is not what the review has the digest of")
    return value


def _not_open(review: Review) -> str:
    if review.verdict is None:
        return "it cannot be decided: its application has called it off, or its deadline has passed"
    by = f" by {review.decided_by}" if review.decided_by else ""
    return f"it is {review.verdict} already{by}"


def _about(review: Review) -> dict[str, Any]:
    """For the audit: digests and names, never a text of the job."""
    row = review.row
    return {
        "project": f"{review.organization}/{review.project}",
        "application": review.application,
        "job_id": str(row.job_id),
        "run": row.run,
        "decision_id": row.decision_id,
        "revision": row.revision,
        "rule": row.rule,
        "input_sha256": row.input_sha256,
        "value_sha256": row.value_sha256,
    }
