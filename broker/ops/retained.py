"""Jobs that a topic still has, as ADMIT judged them: to see what another policy would have said of them.

The register of jobs says which records were believed, whose they were and where they came: no key is needed
to read them again, and nothing that was forged, repeated or not read yet is taken for a job.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from broker.errors import NotFound, SettingsInvalid
from broker.kafka.cluster import connect
from broker.kafka.raw_batch import Record
from broker.kafka.reading import CoordinateReader
from broker.ops import applications, projects
from broker.ops.projects import Address
from broker.settings import KafkaSettings, Settings
from broker.store.bulk import select_by_keys
from broker.store.database import Database
from broker.store.keys import JOB_COLUMNS, JobKey
from broker.store.tables import ledger
from schemas import headers
from schemas.topics import Coordinate, parse_jobs

_AT_ONCE: Final = 50
"""Records read before they are judged: each may be as large as a record can be."""


class Kept(NamedTuple):
    """One record. `project` is None of one that no job was registered by."""

    coordinate: Coordinate
    value: bytes
    project: Address | None
    application: str = ""
    lane: str = ""


async def latest(
    settings: Settings, database: Database, topic: str, per_partition: int
) -> AsyncIterator[list[Kept]]:
    """The newest of each partition, in the order of their coordinates, some at a time.

    Raises SettingsInvalid where it is no topic of jobs, NotFound where there is none of that name, and
    Unavailable.
    """
    partitions = await _partitions(settings.kafka, topic)
    named = {row.name: row.id for row in await applications.list_all(database)}
    addresses = {row.id: row.address for row in await projects.list_all(database)}
    reader = CoordinateReader(settings.kafka)
    try:
        await reader.start()
        for partition in range(partitions):
            end = await reader.end(topic, partition)
            for start in range(max(0, end - per_partition), end, _AT_ONCE):
                offsets = range(start, min(start + _AT_ONCE, end))
                found = await reader.read([Coordinate(topic, partition, offset) for offset in offsets])
                yield await _kept(database, list(found.values()), named, addresses)
    finally:
        await reader.stop()


async def _partitions(settings: KafkaSettings, topic: str) -> int:
    try:
        parse_jobs(topic)
    except ValueError:
        raise SettingsInvalid(f"{topic[:80]!r} is no topic of jobs, such as jobs.standard") from None
    async with connect(settings) as cluster:
        found = (await cluster.topics()).get(topic)
    if found is None:
        raise NotFound(f"no topic {topic}; `headworks topics list` names them")
    return found.partitions


async def _kept(
    database: Database,
    records: Sequence[Record],
    named: dict[str, int],
    addresses: dict[int, Address],
) -> list[Kept]:
    names = {_at(record): _claimed(record, named) for record in records}
    rows = await _registered(database, {key for key, _ in filter(None, names.values())})
    return [_judged(record, names[_at(record)], rows, addresses) for record in records]


class _Row(NamedTuple):
    application_id: int
    job_id: UUID
    origin: str
    value_sha256: str
    project_id: int
    lane: str


async def _registered(database: Database, keys: Collection[JobKey]) -> dict[JobKey, _Row]:
    async with database.connect() as connection:
        rows = await select_by_keys(connection, ledger.jobs, JOB_COLUMNS, keys, _Row._fields)
    return {JobKey(*row[:2]): _Row(*row) for row in rows}


def _judged(
    record: Record,
    claimed: tuple[JobKey, str] | None,
    rows: dict[JobKey, _Row],
    addresses: dict[int, Address],
) -> Kept:
    value, at = record.value or b"", _at(record)
    row = None if claimed is None else rows.get(claimed[0])
    if claimed is None or row is None:
        return Kept(at, value, None)
    if row.origin != str(at) or row.value_sha256 != sha256(value).hexdigest():
        return Kept(at, value, None)
    return Kept(at, value, addresses[row.project_id], claimed[1], row.lane)


def _claimed(record: Record, named: dict[str, int]) -> tuple[JobKey, str] | None:
    """Which job it says that it is, and whose."""
    carried = {name: content or b"" for name, content in record.headers}
    name = carried.get(headers.APPLICATION, b"").decode("ascii", "replace")
    try:
        job_id = UUID(carried.get(headers.CORRELATION_ID, b"").decode("ascii", "replace"))
    except ValueError:
        return None
    return (JobKey(named[name], job_id), name) if name in named else None


def _at(record: Record) -> Coordinate:
    return Coordinate(record.topic, record.partition, record.offset)
