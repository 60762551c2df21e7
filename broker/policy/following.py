"""The policies that decide here: those that operators activated, followed by the directory's revision number.

A new revision is compiled beside the event loop and put in place at once: a job that is being decided goes on
under the one that it began with. Without any, nothing of the rules and detectors is even imported.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import structlog

from broker import tasks
from broker.errors import ConfigurationError, DirectoryBehind, HeadworksError, Unavailable
from broker.policy.decide import NOT_COMPILED, Job, Judgement, denied_unread
from broker.policy.policy_set import Activation, Line, PolicySet, after
from broker.store.policies import Policies
from broker.telemetry.events import Event
from broker.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from broker.policy.answers.judge import AnswerJudge
    from broker.policy.judge import Judge

ALARM = "policy_not_compiled"
PAST_MAX = 16
"""Revisions that are kept compiled for the answers of jobs that they let pass."""
_log = structlog.stdlib.get_logger(__name__)


class _Pair(NamedTuple):
    live: "Judge | None" = None
    candidate: "Judge | None" = None
    broken: str | None = None
    """The revision that should decide, where it cannot be compiled and none of that place decided before."""
    is_own: bool = False
    """`broken` is a project's own."""


class _Bench(NamedTuple):
    """Who judges whose jobs. `projects`: those that have something of their own."""

    default: _Pair = _Pair()
    projects: Mapping[int, _Pair] = {}

    def of(self, project_id: int) -> _Pair:
        own = self.projects.get(project_id)
        if own is None:
            return self.default
        candidate = own.candidate or self.default.candidate
        if own.broken is not None:
            return _Pair(None, candidate, own.broken, is_own=True)
        live, broken = (own.live, None) if own.live is not None else (self.default.live, self.default.broken)
        return _Pair(live, candidate, broken)


class Revised(Protocol):
    """The directory, of which its revision number alone is asked."""

    @property
    def revision(self) -> int: ...


class Following:
    """`async with Following(…)` compiles what is active, and follows from then on.

    Entering raises Unavailable where the database is away, and ConfigurationError where the active revision
    cannot be compiled: no worker starts half-blind. Should a later one not compile, the last good one of the
    same place goes on deciding, and an alarm says so. Before the first, a project's jobs are denied, for what
    it should be decided by is not the default; where the default itself was never good, jobs wait.
    """

    def __init__(self, policies: Policies, directory: Revised, every_ms: int, metrics: Metrics) -> None:
        self._policies = policies
        self._directory = directory
        self._every_ms = every_ms
        self._metrics = metrics
        self._seen = -1
        self._number = 0
        self._standing = PolicySet()
        self._bench = _Bench()
        self._past: OrderedDict[str, Judge] = OrderedDict()
        """Those whose jobs' answers came of late, the last one last."""
        self._uncompiled: set[str] = set()
        self._fetching = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._refresh(strict=True)
        self._following = asyncio.create_task(self._follow(), name="policies")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        following, self._following = self._following, None
        await tasks.end(following)

    def judge(self, job: Job) -> Judgement | None:
        """Raises DirectoryBehind where an unforeseen error has ended the following, or where the default is
        one that this process cannot compile: nothing passes unread for that.
        """
        if self._following is not None and self._following.done():
            cause = self._following.exception()
            raise DirectoryBehind("policies are followed no more: start the process anew") from cause
        live, candidate, broken, is_own = self._bench.of(job.project_id)
        if broken is not None and is_own:
            return denied_unread(job, broken, NOT_COMPILED)
        if broken is not None:
            raise DirectoryBehind(f"policy {broken} cannot be compiled here: activate one that can be")
        if live is None:
            return None
        from broker.policy.judge import judge  # noqa: PLC0415  # loaded already, with the first revision

        return judge(job, live, candidate)

    def candidate(self, project_id: int) -> "Judge | None":
        """See `AnswerPolicy`."""
        return self._bench.of(project_id).candidate

    async def answers(self, revision: str) -> "AnswerJudge | None":
        """See `AnswerPolicy`: a job that an earlier revision let pass has its answer judged by that one.

        Raises Unavailable; also where this process cannot compile the revision: the job waits then.
        """
        judge = self._past.get(revision)
        if judge is None:
            async with self._fetching:
                judge = self._past.get(revision) or await self._fetched(revision)
        if judge is None or judge.answers is None:
            return None
        self._past.move_to_end(revision)
        return judge.answers

    async def _fetched(self, revision: str) -> "Judge | None":
        judge = self._judges().get(revision)
        if judge is None:
            if revision in self._uncompiled:
                raise DirectoryBehind(f"policy {revision} cannot be compiled here")
            text = (await self._policies.texts([revision])).get(revision)
            judge = None if text is None else await self._compiled(revision, text)
        if judge is not None:
            self._past[revision] = judge
            while len(self._past) > PAST_MAX:
                self._past.popitem(last=False)
        return judge

    async def _compiled(self, revision: str, text: str) -> "Judge":
        try:
            return await asyncio.to_thread(_compile, text)
        except Exception as error:
            if isinstance(error, ConfigurationError):  # nothing else is for ever
                self._uncompiled.add(revision)
            self._alarm(revision, error)
            raise DirectoryBehind(f"policy {revision} cannot be compiled here") from error

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._every_ms / 1000)
            try:
                await self._refresh()
            except Unavailable as error:
                self._metrics.trouble("admit", error)

    async def _refresh(self, *, strict: bool = False) -> None:
        """`strict`: raises where a revision that decides cannot be compiled.

        The number is read first: what is activated while this reads is seen at the next number.
        """
        revision = self._directory.revision
        if revision == self._seen:
            return
        acts = await self._policies.beyond(self._number)
        if acts:
            await self._adopt(acts, strict=strict)
        self._seen = revision

    async def _adopt(self, acts: list[Activation], *, strict: bool) -> None:
        standing = after(self._standing, acts)
        judges = self._judges()
        live, candidates = _named(standing)
        for id_, text in (await self._policies.texts((live | candidates) - judges.keys())).items():
            try:
                judges[id_] = await asyncio.to_thread(_compile, text)
            except Exception as error:  # whatever is wrong with it, the last good one stays
                self._alarm(id_, error)
                if strict and id_ in live:
                    raise ConfigurationError(f"policy {id_} cannot be compiled here: {error}") from error
        self._bench = _put_in_place(standing, judges, self._bench)
        self._standing, self._number = standing, acts[-1].number
        say = _log.debug if self._following is None else _log.info  # a start that fails says that alone
        say(Event.POLICY_ADOPTED, number=self._number, revision=standing.default.live)

    def _judges(self) -> "dict[str, Judge]":
        """Those that are on the bench, by revision."""
        pairs = (self._bench.default, *self._bench.projects.values())
        every = (judge for pair in pairs for judge in (pair.live, pair.candidate))
        return {judge.revision.id: judge for judge in every if judge is not None}

    def _alarm(self, revision: str, error: Exception) -> None:
        self._metrics.alarm(ALARM)
        code = error.code if isinstance(error, HeadworksError) else type(error).__name__
        _log.error(Event.POLICY_NOT_COMPILED, code=code, revision=revision)


def _compile(text: str) -> "Judge":
    """Takes up to some seconds, and half a second of imports for the first."""
    from broker.policy.judge import Judge  # noqa: PLC0415  # a process without policy needs none of it
    from broker.policy.revision import PolicyRevision  # noqa: PLC0415

    return Judge(PolicyRevision.load(text))


def _named(standing: PolicySet) -> tuple[set[str], set[str]]:
    """The revisions that decide, and those that do so in the shadow."""
    lines = (standing.default, *standing.projects.values())
    live = {line.live for line in lines if line.live is not None}
    return live, {line.candidate for line in lines if line.candidate is not None}


def _put_in_place(standing: PolicySet, judges: "Mapping[str, Judge]", last: _Bench) -> _Bench:
    return _Bench(
        _pair(standing.default, judges, last.default),
        {
            id_: _pair(line, judges, last.projects.get(id_, _Pair()))
            for id_, line in standing.projects.items()
        },
    )


def _pair(line: Line, judges: "Mapping[str, Judge]", last: _Pair) -> _Pair:
    """The last good one of the same place goes on where the revision that should decide is not there."""
    candidate = None if line.candidate is None else judges.get(line.candidate)
    if line.live is None:
        return _Pair(candidate=candidate)
    live = judges.get(line.live, last.live)
    return _Pair(live, candidate, line.live if live is None else None)
