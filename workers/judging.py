"""Policy on the way back: who judges an answer is found before the call, so that none is paid for in vain."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from broker.identity.directory import Directory
from broker.policy.decide import AnswerPolicy, Comparison
from broker.providers.provider import Answer
from broker.records import Inner
from schemas.reasons import Refusal
from schemas.state import AnswerDecision, State

if TYPE_CHECKING:
    from broker.policy.answers.judge import Answered, AnswerJudge, AnswerJudgement

AT_ONCE_BYTES_MAX: Final = 16 * 1024
"""Of request and answer together; more is judged beside the event loop, and so is what has a schema."""


class Judging(NamedTuple):
    """The rules of the revision that let the job pass, and the names of whose job it is."""

    judge: "AnswerJudge"
    organization: str
    project: str

    async def judged(self, inner: Inner, answer: Answer, tokens: Mapping[str, str]) -> "AnswerJudgement":
        """`tokens`: what will be put back into the answer, by placeholder."""
        if len(answer.body) + len(inner.value) <= AT_ONCE_BYTES_MAX:
            answered = self._answered(inner, answer, tokens)
            if not self.judge.checks_schemas_of(answered.request):
                return self.judge.judge(answered)
        return await asyncio.to_thread(
            lambda: self.judge.judge(self._answered(inner, answer, tokens)),
        )

    def _answered(self, inner: Inner, answer: Answer, tokens: Mapping[str, str]) -> "Answered":
        from broker.policy.answers.judge import Answered  # noqa: PLC0415  # loaded already, with the judge

        state = inner.state
        return Answered(
            organization=self.organization,
            project=self.project,
            application=state.application,
            lane=state.lane.value,
            endpoint=state.endpoint or "",
            request=orjson.loads(inner.value)["request"],
            tags=state.tags,
            regions=() if state.decision is None else state.decision.served or (),
            value_sha256=state.value_sha256,
            body=answer.body,
            response_sha256=answer.response_sha256,
            tokens=tokens,
        )

    def concerns(self, state: State) -> bool:
        """Whether any rule is about the answer of such a job."""
        from broker.policy.facts import Facts  # noqa: PLC0415  # loaded already, with the judge

        facts = Facts(
            organization=self.organization,
            project=self.project,
            application=state.application,
            lane=state.lane.value,
            endpoint=state.endpoint or "",
            request={"model": state.model or ""},
            value_sha256=state.value_sha256,
        )
        return self.judge.concerns(facts)


async def judging(policy: AnswerPolicy, directory: Directory, state: State) -> Judging | Refusal | None:
    """None where no rule is about the job's answer; a refusal where the revision that has such rules is not
    kept: an answer that nobody can judge is not asked for. Raises Unavailable.
    """
    decision = state.decision
    if decision is None or not decision.answers:
        return None
    judge = await policy.answers(decision.revision)
    if judge is None:
        return Refusal.POLICY_ERROR
    return _judging(judge, directory, state)


async def comparison(
    policy: AnswerPolicy,
    directory: Directory,
    inner: Inner,
    answer: Answer,
    tokens: Mapping[str, str],
    decision: AnswerDecision | None,
) -> Comparison | None:
    """How `decision`, which was acted on, compares with that of a candidate in the shadow. None where there
    is none, or neither has a rule about the answer. Raises DirectoryBehind.
    """
    candidate = policy.candidate(inner.state.project_id)
    if candidate is None:
        return None
    from broker.policy.answers.judge import compare  # noqa: PLC0415  # loaded already, with the candidate

    other: AnswerDecision | None = None
    if candidate.answers is not None:
        shadow = _judging(candidate.answers, directory, inner.state)
        if shadow.concerns(inner.state):
            other = (await shadow.judged(inner, answer, tokens)).decision
    return None if decision is None and other is None else compare(decision, other)


def _judging(judge: "AnswerJudge", directory: Directory, state: State) -> Judging:
    project = directory.project(state.project_id)
    return Judging(judge, directory.organizations[project.organization_id].name, project.name)
