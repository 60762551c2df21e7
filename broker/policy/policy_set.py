"""Which revision decides for whom: a snapshot of revisions' ids, and how operators' acts change it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from broker.errors import Conflict

HISTORY_MAX: Final = 100
"""Revisions that can be gone back to one by one; older ones are activated by their text, which is kept."""

Kind = Literal["activate", "rollback", "shadow"]


class Activation(NamedTuple):
    """One act of an operator. `project_id`: None for the default."""

    number: int
    project_id: int | None
    kind: Kind
    revision: str | None
    """Of a rollback None; of a shadow None where it ends."""
    at_ms: int


@dataclass(frozen=True)
class Line:
    """What has decided in one place. `past`: oldest first, the one that decides now last."""

    past: tuple[str, ...] = ()
    candidate: str | None = None
    """Decides in the shadow: what it says is counted and not followed."""

    @property
    def live(self) -> str | None:
        return self.past[-1] if self.past else None


@dataclass(frozen=True)
class PolicySet:
    """`default` is for every project that has no line of its own. Projects by their ids."""

    default: Line = Line()
    projects: Mapping[int, Line] = field(default_factory=dict)

    def live(self, project_id: int) -> str | None:
        """None where nothing was ever activated."""
        own = self.projects.get(project_id)
        return self.default.live if own is None or own.live is None else own.live

    def candidate(self, project_id: int) -> str | None:
        own = self.projects.get(project_id)
        return self.default.candidate if own is None or own.candidate is None else own.candidate

    def line(self, project_id: int | None) -> Line:
        """None: the default."""
        return self.default if project_id is None else self.projects.get(project_id, Line())


def after(policies: PolicySet, activations: Iterable[Activation]) -> PolicySet:
    """What stands after these acts, in their order. Raises Conflict on a rollback to nothing."""
    for _, project_id, kind, revision, _ in activations:
        if kind == "rollback":
            policies = rollback(policies, project_id)
        elif kind == "activate" and revision is not None:
            policies = activate(policies, revision, project_id)
        else:
            policies = shadow(policies, revision, project_id)
    return policies


def activate(policies: PolicySet, revision: str, project_id: int | None = None) -> PolicySet:
    """It decides from now on. To activate what is live changes nothing; a candidate made live is none."""
    line = policies.line(project_id)
    candidate = None if line.candidate == revision else line.candidate
    past = line.past if line.live == revision else (*line.past, revision)[-HISTORY_MAX:]
    return _with(policies, project_id, Line(past, candidate))


def rollback(policies: PolicySet, project_id: int | None = None) -> PolicySet:
    """The revision before decides again; a project's first gives way to the default.

    Raises Conflict where there is nothing to go back to.
    """
    line = policies.line(project_id)
    if len(line.past) < (2 if project_id is None else 1):
        raise Conflict("there is no revision to go back to")
    return _with(policies, project_id, replace(line, past=line.past[:-1]))


def shadow(policies: PolicySet, revision: str | None, project_id: int | None = None) -> PolicySet:
    """`revision` decides beside the live one; None ends that."""
    return _with(policies, project_id, replace(policies.line(project_id), candidate=revision))


def _with(policies: PolicySet, project_id: int | None, line: Line) -> PolicySet:
    if project_id is None:
        return replace(policies, default=line)
    others = {id_: other for id_, other in policies.projects.items() if id_ != project_id}
    kept = others if line == Line() else others | {project_id: line}
    return replace(policies, projects=kept)
