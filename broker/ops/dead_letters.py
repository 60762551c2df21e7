"""The dead letters in Kafka: what each is and where it came from, without what it says."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from uuid import UUID

from pydantic import ValidationError

from broker.errors import NotFound, TopicsMissing
from broker.kafka.cluster import connect
from broker.kafka.raw_batch import Record
from broker.kafka.reading import CoordinateReader
from broker.ops.changes import act, record_change
from broker.settings import KafkaSettings
from broker.store.database import Database
from schemas import headers
from schemas.dead_letter import DeadLetter
from schemas.state import State
from schemas.topics import APPLICATION_PATTERN, DEAD, Coordinate

_AT_ONCE = 50
"""Records read before they are described: each may be as large as a record can be."""


class Letter(NamedTuple):
    """One record of the topic `dead`."""

    coordinate: Coordinate
    at_ms: int
    """When it was put there, by the broker's clock."""
    stage: str | None
    reason: str | None
    origin: str | None
    """The coordinate of the record that failed."""
    detail: str | None
    admitted: bool
    """A job that ADMIT let in. Of any other record, `application` and `job_id` are what it claims to be."""
    application: str | None
    job_id: UUID | None
    value_bytes: int


async def latest(settings: KafkaSettings, limit: int) -> list[Letter]:
    """The newest first. Raises TopicsMissing, KafkaUnavailable, SettingsInvalid."""
    partitions = await _partitions(settings)
    found: list[Letter] = []
    async with _reader(settings) as reader:
        for partition in range(partitions):
            end = await reader.end(DEAD, partition)
            for places in _chunks(partition, max(end - limit, 0), end):
                found += map(describe, (await reader.read(places)).values())
    return sorted(found, key=lambda letter: (letter.at_ms, letter.coordinate), reverse=True)[:limit]


async def read(settings: KafkaSettings, place: Coordinate) -> tuple[Letter, bytes]:
    """One, and its value: the bytes that failed. Raises NotFound where it is not, or no more, there."""
    partitions = await _partitions(settings)
    if place.topic != DEAD or place.partition not in range(partitions):
        raise NotFound(f"no dead letter {place}; `headworks dead list` names them")
    async with _reader(settings) as reader:
        end = await reader.end(DEAD, place.partition)
        found = await reader.read([place] if place.offset < end else [])  # others would be waited for in vain
    if place not in found:
        raise NotFound(f"no dead letter {place}: it is not there, or no longer kept")
    return describe(found[place]), found[place].value or b""


async def disclose(database: Database, letter: Letter, value: bytes) -> None:
    """Put on the record of operations that an operator reads what a letter says, before they do."""
    about = {
        "application": letter.application,
        "job_id": None if letter.job_id is None else str(letter.job_id),
        "value_sha256": hashlib.sha256(value).hexdigest(),
    }
    async with act(database) as connection:
        await record_change(connection, "dead_letter.read", str(letter.coordinate), {}, about)


def describe(record: Record) -> Letter:
    """From the record's headers alone."""
    named = {name: content or b"" for name, content in record.headers}
    note, state = _note(named), _state(named)
    return Letter(
        coordinate=Coordinate(record.topic, record.partition, record.offset),
        at_ms=record.timestamp,
        stage=None if note is None else note.stage,
        reason=None if note is None else note.reason,
        origin=None if note is None else note.origin,
        detail=None if note is None else note.detail,
        admitted=state is not None,
        application=_claimed_application(named) if state is None else state.application,
        job_id=_claimed_job(named) if state is None else state.job_id,
        value_bytes=len(record.value or b""),
    )


def _note(named: Mapping[str, bytes]) -> DeadLetter | None:
    with suppress(ValidationError):
        return DeadLetter.model_validate_json(named.get(headers.DEAD_LETTER, b""))
    return None


def _state(named: Mapping[str, bytes]) -> State | None:
    with suppress(ValidationError):
        return State.model_validate_json(named.get(headers.STATE, b""))
    return None


def _claimed_application(named: Mapping[str, bytes]) -> str | None:
    name = named.get(headers.APPLICATION, b"").decode("ascii", "replace")
    return name if re.fullmatch(APPLICATION_PATTERN, name) else None


def _claimed_job(named: Mapping[str, bytes]) -> UUID | None:
    with suppress(ValueError):
        return UUID(named.get(headers.CORRELATION_ID, b"").decode("ascii"))
    return None


async def _partitions(settings: KafkaSettings) -> int:
    async with connect(settings) as cluster:
        found = (await cluster.topics()).get(DEAD)
    if found is None:
        raise TopicsMissing(f"topic {DEAD} is missing; `headworks topics apply` makes it")
    return found.partitions


@asynccontextmanager
async def _reader(settings: KafkaSettings) -> AsyncIterator[CoordinateReader]:
    reader = CoordinateReader(settings)
    try:
        await reader.start()
        yield reader
    finally:
        await reader.stop()


def _chunks(partition: int, first: int, end: int) -> Iterator[list[Coordinate]]:
    for start in range(first, end, _AT_ONCE):
        yield [Coordinate(DEAD, partition, offset) for offset in range(start, min(start + _AT_ONCE, end))]
