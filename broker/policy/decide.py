"""The seam of policy: one decision a job, at ADMIT, before any money moves."""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from broker.errors import JobRefused
from schemas.envelope import Envelope
from schemas.reasons import Refusal
from schemas.state import Decision

if TYPE_CHECKING:
    from broker.policy.answers.judge import AnswerJudge
    from broker.policy.judge import Judge


class Job(NamedTuple):
    """What is decided on. `value_sha256`: of the application's value, in hexadecimal."""

    organization: str
    project_id: int
    project: str
    application: str
    lane: str
    envelope: Envelope
    value_sha256: str
    regions: tuple[str, ...] = ()
    """Labels of the targets that serve its model, sorted."""


class Comparison(NamedTuple):
    """What was decided, on a job or its answer, and what a candidate in the shadow would have; `same` in all
    that counts.
    """

    live: str
    candidate: str
    same: bool


class Uncheckable(NamedTuple):
    """Why, in words without a value of the request; `param`: the field at fault."""

    reason: str
    param: str


class Judgement(NamedTuple):
    """A decision, and what is done for it."""

    decision: Decision
    rule: str | None = None
    """The id of the rule that decided."""
    failed: bool = False
    """It denies because a rule failed."""
    request: dict[str, Any] | None = None
    """The request with placeholders, where data is taken out."""
    tokens: Mapping[str, str] = MappingProxyType({})
    """The values behind those placeholders that are put back into the answer."""
    comparison: Comparison | None = None
    input_sha256: str = ""
    """Of everything that the decision depends on."""
    uncheckable: Uncheckable | None = None
    """The job's answer could not be checked as policy demands."""


class Policy(Protocol):
    def judge(self, job: Job) -> Judgement | None:
        """Pure: the same job under the same revision is decided the same way. None: no rules are active."""
        ...


class AnswerPolicy(Protocol):
    async def answers(self, revision: str) -> "AnswerJudge | None":
        """Who judges the answers of jobs that this revision let pass, whatever decides by now. None where it
        is not kept, or is not about answers. Raises Unavailable.
        """
        ...

    def candidate(self, project_id: int) -> "Judge | None":
        """Who decides in the shadow of what decides now."""
        ...


NOT_COMPILED: Final = "policy_not_compiled"
"""Named as the rule where a project's own revision cannot be compiled and none of its own decided before."""


def denied_unread(job: Job, revision: str, rule: str) -> Judgement:
    """A job that cannot be decided is denied. `rule`: named in place of one."""
    id_ = sha256(f"{revision} {job.value_sha256} {rule}".encode()).hexdigest()[:32]
    return Judgement(Decision(id=id_, revision=revision, effect="deny", rules=(rule,)), rule, failed=True)


class PolicyDenied(JobRefused):
    """A job that policy does not let pass. The message names the decision and the rule, never a text."""

    def __init__(self, judgement: Judgement, reason: Refusal | None = None) -> None:
        """`reason`: where the decision itself is none to deny."""
        reason = reason or (Refusal.POLICY_ERROR if judgement.failed else Refusal.POLICY_DENIED)
        rule = f", rule {judgement.rule}" if judgement.rule else ""
        super().__init__(reason, f"decision {judgement.decision.id}{rule}")
        self.judgement = judgement


UNRESTRICTED: Final = Decision(id="unrestricted", revision="unrestricted", effect="allow")
"""Where no revision was ever activated, whatever a project's settings allow may pass."""


class Unrestricted:
    """No rules."""

    def judge(self, job: Job) -> Judgement | None:
        return None

    async def answers(self, revision: str) -> "AnswerJudge | None":
        return None

    def candidate(self, project_id: int) -> "Judge | None":
        return None
