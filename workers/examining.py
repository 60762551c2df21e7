"""ADMIT's look at one record: who sent it, what it asks for, and whether it may pass."""

import hashlib
from typing import Any, NamedTuple

from broker.admission import DEADLINE_DEFAULT_MS, Admitted, Bounds, Sender, judge, read_reply_to
from broker.errors import AppendTimeRequired, JobRefused, NotBelieved
from broker.identity.authenticate import Authentic, Freshness, authenticate
from broker.identity.directory import Directory
from broker.policy import tokens
from broker.policy.decide import Judgement, Policy, PolicyDenied
from broker.policy.dlp.errors import TokenMapTooLarge
from broker.pricing.project_books import ProjectBooks
from broker.providers.routes import Routes
from broker.records import Incoming, Inner
from broker.settings import Settings
from schemas import headers
from schemas.reasons import Refusal
from schemas.state import State
from schemas.topics import ReplyTo
from workers.outlets import coordinate
from workers.tools import Tools

_LOG_APPEND_TIME = 1


class Cancel(NamedTuple):
    """An authentic word that a job is called off. `state`: the job's, as far as this record tells."""

    state: State


class Job(NamedTuple):
    """An authentic job, judged."""

    record: Incoming
    authentic: Authentic
    state: State
    refused: JobRefused | None
    judgement: Judgement | None
    """None where no policy is active, or it was refused before."""
    rewritten: bytes | None = None
    """The value without what policy took out, where it took something."""
    tokens: bytes | None = None

    @property
    def inner(self) -> Inner:
        """As it goes on."""
        if self.rewritten is not None:
            digest = hashlib.sha256(self.rewritten).digest()
            return Inner(self.state, self.rewritten, digest, self.tokens)
        return Inner(self.state, self.record.value or b"", self.authentic.sha256)


class Examiner:
    def __init__(
        self, settings: Settings, tools: Tools, directory: Directory, books: ProjectBooks, policy: Policy
    ) -> None:
        admit = settings.admit
        self._directory = directory
        self._books = books
        self._routes = Routes(settings.providers)
        self._policy = policy
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._bounds = Bounds(admit.request_bytes_max, admit.depth_max)
        self._freshness = Freshness(admit.stale_after_s * 1000, admit.future_within_s * 1000)
        self._by_receipt = settings.kafka.append_time == "receipt"

    async def examine(self, record: Incoming) -> Job | Cancel:
        """Raises NotBelieved; Unavailable, as long as it cannot be told."""
        appended_ms = self._appended_ms(record)
        authentic = authenticate(record, appended_ms, self._directory.key, self._freshness)
        refused: JobRefused | None = None
        reply_to: ReplyTo | None = None
        admitted: Admitted | None = None
        is_cancel = authentic.content_type == headers.CANCEL
        try:
            reply_to = await self._reply_to(authentic)
            if not is_cancel:
                admitted = self._admitted(record, authentic)
        except JobRefused as error:
            refused = error
        state = _state(record, appended_ms, authentic, reply_to, admitted)
        if is_cancel:
            return Cancel(state)
        judgement = _judgement(admitted, refused)
        if judgement is not None:
            self._metrics.policy(judgement)
        job = Job(record, authentic, _decided(state, refused), refused, judgement)
        return self._sealed(job, admitted)

    def _admitted(self, record: Incoming, authentic: Authentic) -> Admitted:
        """Raises JobRefused; DirectoryBehind."""
        project = self._directory.project(authentic.key.project_id)
        sender = Sender(
            organization=self._directory.organizations[project.organization_id].name,
            project=project,
            budget=self._directory.budget(authentic.key.id),
            application=authentic.key.application,
            lane=authentic.lane.value,
            value_sha256=authentic.sha256.hex(),
        )
        return judge(
            record.value or b"", sender, self._books.of(project), self._policy, self._bounds, self._routes
        )

    def _sealed(self, job: Job, admitted: Admitted | None) -> Job:
        """With what policy took out, and the tokens for the way back."""
        if admitted is None or admitted.rewritten is None:
            return job
        job = job._replace(rewritten=admitted.rewritten)
        if not admitted.tokens:
            return job
        try:
            sealed = tokens.seal(self._sealer.token_key, job.state, admitted.tokens)
        except TokenMapTooLarge as error:
            return job._replace(refused=JobRefused(Refusal.POLICY_TOKENS_TOO_LARGE, str(error)))
        named = job.state.model_copy(update={"tokens_sha256": hashlib.sha256(sealed).hexdigest()})
        return job._replace(state=named, tokens=sealed)

    def identify(self, record: Incoming, *, even_revoked: bool = False) -> Inner | None:
        """The job of a record that ADMIT could not handle, or is not to, so that it can be ended. None:
        nobody's.
        """
        try:
            appended_ms = self._appended_ms(record)
            authentic = authenticate(
                record, appended_ms, self._directory.key, self._freshness, even_revoked=even_revoked
            )
            reply_to = read_reply_to(authentic.reply_to, authentic.key.application)
        except (NotBelieved, JobRefused):
            return None
        if authentic.content_type == headers.CANCEL:
            return None
        state = _state(record, appended_ms, authentic, reply_to, None)
        return Inner(state, record.value or b"", authentic.sha256)

    def _appended_ms(self, record: Incoming) -> int:
        if self._by_receipt:
            return self._clock()
        if record.timestamp_type != _LOG_APPEND_TIME:
            raise AppendTimeRequired(
                f"topic {record.topic} does not stamp LogAppendTime; `headworks topics apply` mends it"
            )
        return record.timestamp

    async def _reply_to(self, authentic: Authentic) -> ReplyTo | None:
        reply_to = read_reply_to(authentic.reply_to, authentic.key.application)
        if reply_to is None:
            return None
        wanted = (reply_to.partition or 0) + 1
        partitions = await self._producer.partitions(reply_to.topic, wanted)
        if partitions is None or partitions < wanted:
            raise JobRefused(
                Refusal.REPLY_UNDELIVERABLE, "there is no such reply topic or partition", "reply_to"
            )
        return reply_to


def _judgement(admitted: Admitted | None, refused: JobRefused | None) -> Judgement | None:
    if isinstance(refused, PolicyDenied):
        return refused.judgement
    return None if admitted is None else admitted.judgement


def _state(
    record: Incoming,
    appended_ms: int,
    authentic: Authentic,
    reply_to: ReplyTo | None,
    admitted: Admitted | None,
) -> State:
    key = authentic.key
    ttl_ms = DEADLINE_DEFAULT_MS if admitted is None else admitted.ttl_s * 1000
    return State(
        application=key.application,
        application_id=key.application_id,
        organization_id=key.organization_id,
        project_id=key.project_id,
        key_id=key.id,
        job_id=authentic.job_id,
        lane=authentic.lane,
        origin=str(coordinate(record)),
        value_sha256=authentic.sha256.hex(),
        appended_ms=appended_ms,
        deadline_ms=appended_ms + ttl_ms,
        reply_to=None if reply_to is None else str(reply_to),
        traceparent=authentic.traceparent,
        **({} if admitted is None else _content(admitted)),
    )


def _decided(state: State, refused: JobRefused | None) -> State:
    """With the decision by which policy refused it, which is to be on record too."""
    if not isinstance(refused, PolicyDenied):
        return state
    return state.model_copy(update={"decision": refused.judgement.decision})


def _content(admitted: Admitted) -> dict[str, Any]:
    envelope = admitted.envelope
    return {
        "endpoint": envelope.endpoint,
        "model": admitted.model,
        "tags": envelope.tags,
        "retry": envelope.retry,
        "overrides": admitted.overrides,
        "estimate": admitted.estimate,
        "decision": admitted.decision,
    }
