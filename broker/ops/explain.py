"""Why policy let a job pass or did not: its decision, made again from the envelope that was sent."""

import hashlib
from typing import NamedTuple
from uuid import UUID

from broker.admission import Bounds, read_envelope
from broker.errors import Conflict, NotFound
from broker.kafka.raw_batch import Record
from broker.kafka.reading import CoordinateReader, Found
from broker.ops import jobs, policies
from broker.policy.decide import UNRESTRICTED, Job
from broker.policy.decision import DecisionRecord
from broker.policy.judge import Judge
from broker.policy.revision import PolicyRevision
from broker.settings import Settings
from broker.store.database import Database
from broker.store.flags import FlagRow
from broker.store.history import JobRecords
from broker.store.settlement_rows import Terminal
from schemas import headers
from schemas.state import AnswerDecision, Decision, State
from schemas.topics import Coordinate


class Explained(NamedTuple):
    """`recorded`: as it travelled with the job. `again`: the same, made from the envelope just now."""

    recorded: Decision
    again: DecisionRecord
    answer: AnswerDecision | None = None
    """What was decided on the answer, as it is on record: the answer is not kept to be judged again."""
    flags: tuple[FlagRow, ...] = ()
    """What plugged-in detectors found in this run: no part of any decision."""

    @property
    def same(self) -> bool:
        """Not so where other detectors looked then, or somebody has changed what is on record."""
        return self.recorded.id == self.again.id


async def explain(
    settings: Settings, database: Database, job_id: UUID, application: str | None = None
) -> Explained:
    """Of the job's last run. Raises NotFound where there is no such job, it has not ended, no policy was
    active, or Kafka keeps it no more; Conflict; Unavailable; TooMuchFound, if that is why it was refused.
    """
    records = await jobs.show(database, job_id, application)
    origin, outcome = Coordinate.parse(records.job.origin), Coordinate.parse(_terminal(records).outcome)
    found = await _read(settings, origin, outcome)
    state = _ended(found.get(outcome))
    recorded = _recorded(state)
    stored = await policies.show(database, recorded.revision)
    judge = Judge(PolicyRevision.load(stored.text))
    job = job_of(records, _value(records, found.get(origin)), recorded.served or ())
    flags = tuple(flag for flag in records.flags if flag.run == state.run)
    return Explained(recorded, judge.record(job), state.answer, flags)


async def read_value(settings: Settings, records: JobRecords) -> bytes:
    """The envelope as it was sent. Raises NotFound, Conflict, Unavailable."""
    origin = Coordinate.parse(records.job.origin)
    return _value(records, (await _read(settings, origin)).get(origin))


async def _read(settings: Settings, *places: Coordinate) -> Found:
    reader = CoordinateReader(settings.kafka)
    try:
        await reader.start()
        return await reader.read(places)
    finally:
        await reader.stop()


def _terminal(records: JobRecords) -> Terminal:
    run = jobs.latest_run(records)
    found = next((each for each in records.terminals if each.run == run), None)
    if found is None:
        raise NotFound("the job has not ended, and its decision is on record when it has")
    return found


def _ended(outcome: Record | None) -> State:
    if outcome is None:
        raise NotFound("the job's outcome is no longer kept in Kafka, and its decision went with it")
    named = {name: content or b"" for name, content in outcome.headers}
    return State.model_validate_json(named[headers.STATE])


def _recorded(state: State) -> Decision:
    decision = state.decision
    if decision is None:
        raise NotFound("the job was refused before policy was asked")
    if decision.revision == UNRESTRICTED.revision:
        raise NotFound("no policy was active when the job was admitted")
    return decision


def _value(records: JobRecords, record: Record | None) -> bytes:
    value: bytes | None = None if record is None else record.value
    if value is None:
        raise NotFound("the job's envelope is no longer kept in Kafka")
    if hashlib.sha256(value).hexdigest() != records.job.value_sha256:
        raise Conflict("what Kafka has at the job's coordinate is not what the ledger has the digest of")
    return value


def job_of(records: JobRecords, value: bytes, served: tuple[str, ...]) -> Job:
    """As ADMIT judged it. `served`: labels of the targets that served its model."""
    organization, _, project = records.project.partition("/")
    return Job(
        organization=organization,
        project_id=records.job.project_id,
        project=project,
        application=records.application,
        lane=records.job.lane,
        envelope=read_envelope(value, Bounds(len(value), 200)),
        value_sha256=records.job.value_sha256,
        regions=served,
    )
