"""A document made ready to decide: conditions compiled, and those chosen that a kind of job can meet.

Three things make a decision cheap. Most of a document is about other jobs than the one at hand; which rules
are about it is told by five names alone, so that is found out once for each combination of them. A condition
yields the same for the same facts, so what it yielded is remembered by them, within bounds: most jobs differ
from the last ones in a few facts only, and the interpreter runs for the conditions that read those. And those
that read nothing that differs from each job to the next are remembered all together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from broker.policy.bands import band_of
from broker.policy.clauses import Clause, clauses
from broker.policy.document import Scope, Source
from broker.policy.expressions import Expression, ExpressionInvalid, compile_expression, context_of, holds
from broker.policy.facts import Facts, Phase

SELECTIONS_MAX: Final = 1_024
"""Kinds of jobs whose selection is remembered."""
OUTCOMES_MAX: Final = 256
"""Combinations of facts whose outcome a condition, or all of a selection, remembers."""
LIST_MAX: Final = 8
"""A longer list is not remembered."""
_MEASURES: Final = frozenset({"request.messages.chars", "request.messages.chars_longest", "answer.chars"})
"""With the scores of injection: facts that are seldom the same for two jobs."""

T = TypeVar("T")


class Judged:
    """A clause and its condition."""

    def __init__(self, clause: Clause, expression: Expression) -> None:
        self.clause = clause
        self.expression = expression
        self.names = tuple(sorted(expression.reads))
        self._band = clause.band or band_of(expression)
        self._places = [name.split(".") for name in self.names]
        self._outcomes: dict[tuple[Any, ...], bool | None] = {}

    def takes(self, facts: Facts) -> bool:
        """Whether the clause is about such a job."""
        return _takes(self.clause.scope, _names(facts))

    def holds(self, facts: Facts) -> bool | None:
        """None where the condition fails."""
        return self.outcome(tuple(self.expression.reads[name].read(facts) for name in self.names))

    def outcome(self, values: tuple[Any, ...]) -> bool | None:
        """`values`: of the facts that it reads, in the order of `names`."""
        band = self._band
        if band is not None:
            return bool(band[0] <= values[0] < band[1])
        with suppress(KeyError):  # not asked twice: answers are judged in threads, and one may forget all
            return self._outcomes[values]
        held = holds(self.expression.program, context_of(self._nested(values), self.expression.patterns))
        _remember(self._outcomes, values, held)
        return held

    def _nested(self, values: tuple[Any, ...]) -> dict[str, Any]:
        root: dict[str, Any] = {}
        for (*parents, name), value in zip(self._places, values, strict=True):
            node = root
            for parent in parents:
                node = node.setdefault(parent, {})
            if value is not None:
                node[name] = value
        return root


class Compiled(NamedTuple):
    """`stages`: what is decided before a job goes on, and on its answer."""

    revision: str
    stages: Mapping[Phase, "Stage"]

    def judged(self, id_: str) -> Judged:
        """Raises StopIteration where there is none."""
        every = chain.from_iterable(stage.every for stage in self.stages.values())
        return next(one for one in every if one.clause.id == id_)


class Selection:
    """The clauses whose scope takes a kind of job, in order.

    Most jobs differ from the last ones in what is measured of them, lengths and scores, and in nothing else
    that a rule asks. So what the clauses come to that ask for no measure is remembered for all together.
    """

    def __init__(self, chosen: Iterable[Judged]) -> None:
        every = tuple(enumerate(chosen))
        self._steady = _Asked(one for one in every if not _is_measured(one[1]))
        self._measured = _Asked(one for one in every if _is_measured(one[1]))
        self._remembered: dict[tuple[Any, ...], tuple[_Told, ...]] = {}

    def told(self, facts: Facts) -> list[tuple[Clause, bool | None]]:
        """The clauses whose condition holds, and, with None, those whose condition fails."""
        steady, measured = self._of_steady(facts), self._measured.told(self._measured.read(facts))
        both = sorted((*steady, *measured), key=_place) if measured else steady
        return [(told.clause, told.held) for told in both]

    def _of_steady(self, facts: Facts) -> tuple["_Told", ...]:
        values = self._steady.read(facts)
        told = self._remembered.get(values)
        if told is None:
            told = self._steady.told(values)
            _remember(self._remembered, values, told)
        return told


class _Told(NamedTuple):
    place: int
    """In the order of the clauses."""
    clause: Clause
    held: bool | None


class _Asked:
    """Clauses, each with its place, and the facts that they read, each read once."""

    def __init__(self, chosen: Iterable[tuple[int, Judged]]) -> None:
        every = tuple(chosen)
        reads = {name: fact.read for _, one in every for name, fact in one.expression.reads.items()}
        place = {name: number for number, name in enumerate(reads)}
        self._readers = tuple(reads.values())
        self._chosen = tuple(
            (number, one, _picker([place[name] for name in one.names])) for number, one in every
        )

    def read(self, facts: Facts) -> tuple[Any, ...]:
        return tuple([read(facts) for read in self._readers])

    def told(self, values: tuple[Any, ...]) -> tuple[_Told, ...]:
        """Of the clauses those whose condition holds or fails."""
        outcomes = ((number, one.clause, one.outcome(pick(values))) for number, one, pick in self._chosen)
        return tuple(_Told(*each) for each in outcomes if each[2] is not False)


class Stage:
    """The clauses of one phase."""

    def __init__(self, every: Iterable[Judged]) -> None:
        self.every = tuple(every)
        self._select = lru_cache(SELECTIONS_MAX)(self._selected)

    def select(self, facts: Facts) -> Selection:
        return self._select(_names(facts))

    def _selected(self, names: tuple[str, ...]) -> Selection:
        return Selection(judged for judged in self.every if _takes(judged.clause.scope, names))


def compile_source(source: Source, revision: str) -> Compiled:
    """Raises PolicyInvalid with the line and the rule of the first condition that cannot be used."""
    types = source.document.dlp.types
    every = [_judged(source, clause, types) for clause in clauses(source.document)]
    phases: tuple[Phase, ...] = ("request", "answer")
    stages = {
        phase: Stage(judged for judged in every if judged.expression.phase == phase) for phase in phases
    }
    return Compiled(revision, stages)


def _judged(source: Source, clause: Clause, types: frozenset[str]) -> Judged:
    try:
        expression = compile_expression(clause.when, types)
    except ExpressionInvalid as error:
        raise source.invalid(f"when: {error}", (*clause.path, "when")) from None
    if expression.phase == "answer" and clause.effect == "review":
        raise source.invalid("effect: an answer cannot be held for review", (*clause.path, "effect"))
    if expression.phase == "answer" and clause.regions:
        raise source.invalid("regions: the job has been routed already", (*clause.path, "regions"))
    return Judged(clause, expression)


def _remember(known: dict[tuple[Any, ...], T], values: tuple[Any, ...], outcome: T) -> None:
    """Within bounds."""
    if any(isinstance(value, tuple) and len(value) > LIST_MAX for value in values):
        return
    if len(known) >= OUTCOMES_MAX:
        known.clear()
    known[values] = outcome


def _is_measured(judged: Judged) -> bool:
    return any(name in _MEASURES or name.startswith("injection.") for name in judged.names)


def _place(told: _Told) -> int:
    return told.place


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return lambda values: tuple([values[place] for place in places])


def _names(facts: Facts) -> tuple[str, ...]:
    return facts.organization, facts.project, facts.application, facts.model, facts.lane


def _takes(scope: Scope, names: tuple[str, ...]) -> bool:
    wanted = (scope.organization, scope.project, scope.application, scope.model, scope.lane)
    return all(not allowed or name in allowed for allowed, name in zip(wanted, names, strict=True))
