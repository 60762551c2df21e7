"""Jobs of a file or of a topic, decided by two revisions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from broker.admission import Bounds, read_envelope
from broker.errors import JobRefused
from broker.policy.decision import DecisionRecord, decide
from broker.policy.detections import Detection, InjectionDetector, detect
from broker.policy.differences import Change, Differences, compare
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.evaluation import RowInvalid
from broker.policy.facts import Facts
from broker.policy.finding import finder_of
from broker.policy.revision import PolicyRevision
from broker.policy.spotting import spot
from broker.policy.texts import texts
from headworks.batch.lines import Line
from headworks.batch.requests import Request, parse
from headworks.trial.scan import LINE_BYTES_MAX, whole
from schemas.envelope import Endpoint, Tags
from schemas.requests import RequestRefused, validate_request

_BOUNDS: Final = Bounds(LINE_BYTES_MAX, depth_max=64)
_BATCH_KEYS: Final = frozenset({"custom_id", "method", "url", "body"})
_TEXTS_REMEMBERED: Final = 64


class Whose(NamedTuple):
    """What a file does not say of its jobs. `regions`: labels of the targets that would serve them."""

    organization: str
    project: str
    application: str
    lane: str
    regions: tuple[str, ...] = ()


class Job(NamedTuple):
    """`label`: the `custom_id`, or the line."""

    label: str
    endpoint: Endpoint
    request: dict[str, Any]
    tags: Tags
    sha256: str


class Replayed(NamedTuple):
    """`change`: None where both decide alike. `refused`: why no policy would ever see such a line."""

    line: int
    change: Change | None = None
    refused: RowInvalid | None = None


@dataclass
class Outcome:
    """`changes`: each with its line. `refusal`: the first."""

    counts: Differences = field(default_factory=Differences)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    refused: int = 0
    refusal: RowInvalid | None = None

    def add(self, replayed: Replayed) -> None:
        if replayed.refused is not None:
            self.refused += 1
            self.refusal = self.refusal or replayed.refused
            return
        self.counts = self.counts.count(replayed.change)
        if replayed.change is not None:
            self.changes.append((replayed.line, replayed.change))


class Remembering:
    """Two revisions ask for the same texts, and many jobs have the same system prompt."""

    def __init__(self, injection: InjectionDetector) -> None:
        self._scan = lru_cache(_TEXTS_REMEMBERED)(injection.scan)

    def scan(self, text: str) -> Detection:
        return self._scan(text)


class Side:
    """One of the two revisions, with the types of data that are its own."""

    def __init__(self, revision: PolicyRevision, injection: InjectionDetector) -> None:
        self._compiled = revision.compiled
        self._injection = injection
        self._finder = finder_of(revision.document.dlp)

    def decide(self, job: Job, whose: Whose) -> DecisionRecord:
        """Raises TooMuchFound where a text holds more than the finder tells apart."""
        read = tuple(texts(job.request))
        found = detect(read, spot(read, self._finder), self._injection, "")
        facts = Facts(
            organization=whose.organization,
            project=whose.project,
            application=whose.application,
            lane=whose.lane,
            endpoint=job.endpoint,
            request=job.request,
            value_sha256=job.sha256,
            tags=job.tags,
            regions=whose.regions,
            detections=found,
            found=read,
        )
        return decide(facts, self._compiled)


def replay(lines: Iterable[Line], before: Side, after: Side, whose: Whose) -> Iterator[Replayed]:
    """One for each line that is not blank, in order, decided as a request by both."""
    for line in lines:
        if line.raw is not None and not line.raw.strip():
            continue
        try:
            job = read_job(line)
        except RowInvalid as refused:
            yield Replayed(line.number, refused=refused)
        else:
            yield decided(line.number, job, before, after, whose)


def decided(number: int, job: Job, before: Side, after: Side, whose: Whose) -> Replayed:
    try:
        change = compare(job.label, before.decide(job, whose), after.decide(job, whose))
    except TooMuchFound as refused:
        return Replayed(number, refused=RowInvalid(number, "row", str(refused)))
    return Replayed(number, change)


def read_job(line: Line) -> Job:
    """Of an envelope, or of a line of the OpenAI Batch format.

    Raises RowInvalid where it is neither, and where its request would be refused for its form.
    """
    raw = whole(line)
    if not _is_batch(raw):
        return read_envelope_of(line.number, raw, f"line {line.number}")
    job = _of_batch(line.number, raw)
    with _told(line.number):
        validate_request(job.endpoint, job.request)
    return job


def read_envelope_of(number: int, raw: bytes, label: str) -> Job:
    """Of an envelope. Raises RowInvalid as `read_job` does."""
    with _told(number):
        envelope = read_envelope(raw, _BOUNDS)
        validate_request(envelope.endpoint, envelope.request)
    return Job(label, envelope.endpoint, envelope.request, envelope.tags, sha256(raw).hexdigest())


@contextmanager
def _told(number: int) -> Iterator[None]:
    try:
        yield
    except (JobRefused, RequestRefused) as refused:
        raise RowInvalid(number, refused.param or "row", refused.message) from None


def _is_batch(raw: bytes) -> bool:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and not _BATCH_KEYS.isdisjoint(fields)


def _of_batch(number: int, raw: bytes) -> Job:
    """Raises RowInvalid."""
    parsed = parse(Line(number, raw))
    if not isinstance(parsed, Request):
        raise RowInvalid(number, "row", parsed.message if parsed else "blank")
    return Job(parsed.custom_id, parsed.endpoint, parsed.body, parsed.tags, sha256(raw).hexdigest())
