"""Reads a history and says where a promise was broken. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from uuid import UUID

from tests.crucible.cancelled import cancelled_wrongly
from tests.crucible.history import Harm, History, Reply, Terminal
from tests.crucible.second_calls import second_calls

MUST_BE_ZERO = (
    "lost",
    "two_outcomes",
    "charged_twice",
    "cancelled_wrongly",
    "overspent",
    "holds_left",
    "second_calls_unexplained",
    "errors",
)


@dataclass(frozen=True, slots=True)
class Counts:
    """The last line of a run."""

    published: int
    """Jobs whose publish was acknowledged."""
    answered: int
    """Of these, those whose final reply came, of whatever kind."""
    lost: int
    two_outcomes: int
    charged_twice: int
    cancelled: int
    """Jobs that ended as called off."""
    cancelled_wrongly: int
    overspent: int
    holds_left: int
    second_calls: int
    second_calls_unexplained: int
    faults: int
    recover_p99_s: float | None
    """From a fault's end until the first probe published after it is answered. None: none was seen."""
    errors: int
    """Of the run itself: it showed less than it was meant to."""


@dataclass(frozen=True, slots=True)
class Report:
    counts: Counts
    broken: tuple[str, ...]
    """One line for each that was counted and must not be."""
    second_calls_by_cause: dict[str, int]
    recovered_s: tuple[tuple[str, float | None], ...]
    """Kind of fault, with those that came before it was over, and seconds; in the order of the faults."""

    @property
    def holds_good(self) -> bool:
        figures = asdict(self.counts)
        return not any(figures[name] for name in MUST_BE_ZERO)


def check(history: History) -> Report:
    lost, twice, wrongly = _lost(history), _two_outcomes(history), cancelled_wrongly(history)
    charged, overspent, held = _charged_twice(history), _overspent(history), _holds_left(history)
    again = second_calls(history)
    unexplained = [f"unexplained call: {call.id}: {call.cause}" for call in again if not call.explained]
    recovered = tuple(_recoveries(history))
    replied = {reply.job_id for reply in history.replies}
    counts = Counts(
        published=len(history.published),
        answered=sum(job.job_id in replied for job in history.published),
        lost=len(lost),
        two_outcomes=len(twice),
        charged_twice=len(charged),
        cancelled=sum(terminal.kind == "cancelled" for terminal in history.terminals),
        cancelled_wrongly=len(wrongly),
        overspent=len(overspent),
        holds_left=len(held),
        second_calls=len(again),
        second_calls_unexplained=len(unexplained),
        faults=len(history.harms),
        recover_p99_s=_p99([seconds for _, seconds in recovered if seconds is not None]),
        errors=len(history.errors),
    )
    errors = (f"error of the run: {error}" for error in history.errors)
    broken = (*lost, *twice, *charged, *wrongly, *overspent, *held, *unexplained, *errors)
    return Report(counts, broken, dict(Counter(call.cause for call in again)), recovered)


def _lost(history: History) -> list[str]:
    ended = {terminal.job_id for terminal in history.terminals}
    replied = {reply.job_id for reply in history.replies}
    return [
        f"lost: {job.job_id} of {job.application} "
        + ("has its terminal and no reply" if job.job_id in ended else "has no terminal")
        for job in history.published
        if job.job_id not in ended or job.job_id not in replied
    ]


def _two_outcomes(history: History) -> list[str]:
    """More than one terminal, or replies that do not say what the terminal names. A reply may repeat."""
    ends = Counter(terminal.job_id for terminal in history.terminals)
    told: dict[UUID, set[tuple[int, str]]] = defaultdict(set)
    ended: Iterable[Terminal | Reply] = chain(history.terminals, history.replies)
    for each in ended:
        told[each.job_id].add((each.run, each.value_sha256))
    return [
        f"two outcomes: {job_id} has {ends[job_id]} terminals and {len(values)} different ends"
        for job_id, values in told.items()
        if ends[job_id] > 1 or len(values) > 1
    ]


def _charged_twice(history: History) -> list[str]:
    """An attempt or a hold, an answer, or a sum that is not the one that the job's owner was told."""
    found = _repeated("attempt", (charge.id for charge in history.charges))
    found += _repeated("hold", (charge.hold_id for charge in history.charges))
    answered = (
        (charge.id.job_id, charge.id.run) for charge in history.charges if charge.verdict == "answered"
    )
    found += _repeated("answer of job and run", answered)
    sums: Counter[tuple[UUID, int]] = Counter()
    for charge in history.charges:
        sums[charge.id.job_id, charge.id.run] += charge.nanodollars
    for told in {(each.job_id, each.run, each.nanodollars) for each in history.replies}:
        if sums[told[:2]] > told[2]:
            found.append(f"charged twice: {told[0]} costs {sums[told[:2]]}, and its owner was told {told[2]}")
    return found


def _repeated(what: str, names: Iterable[object]) -> list[str]:
    return [
        f"charged twice: {what} {name}, {times} times" for name, times in Counter(names).items() if times > 1
    ]


def _overspent(history: History) -> list[str]:
    """Each project and day once: by charges, by what the gate counted, or by what it will forget to count."""
    found: dict[tuple[str, int], str] = {}
    charged = _charged(history)
    for (project, day), total in charged.items():
        if total > history.budgets[project]:
            found[project, day] = f"charges of {total}"
    for sample in chain(history.samples, history.at_rest):
        if sample.spent + sample.held > history.budgets[sample.project]:
            found.setdefault(
                (sample.project, sample.day), f"the gate at {sample.spent} spent and {sample.held} held"
            )
    for sample in history.at_rest:
        if sample.spent < charged[sample.project, sample.day]:
            found.setdefault(
                (sample.project, sample.day),
                f"charges of {charged[sample.project, sample.day]}, of which the gate counts {sample.spent}",
            )
    return [
        f"overspent: {project} on day {day}: {why}, budget {history.budgets[project]}"
        for (project, day), why in found.items()
    ]


def _holds_left(history: History) -> list[str]:
    """Holds of no attempt under way, and money that the gate counts and nobody was charged."""
    found = [f"hold left: {hold_id}" for hold_id in history.holds]
    charged = _charged(history)
    for sample in history.at_rest:
        spare = sample.spent + sample.held - charged[sample.project, sample.day]
        if spare > 0 and not history.holds:
            found.append(
                f"hold left: the gate counts {spare} too much for {sample.project}, day {sample.day}"
            )
    return found


def _charged(history: History) -> Counter[tuple[str, int]]:
    sums: Counter[tuple[str, int]] = Counter()
    for charge in history.charges:
        sums[charge.project, charge.day] += charge.nanodollars
    return sums


def _recoveries(history: History) -> Iterator[tuple[str, float | None]]:
    for harm in history.harms:
        seconds = _recovery_s(harm, history)
        until_s = harm.ended_s + (seconds or 0.0)
        between = [other.kind for other in history.harms if harm.ended_s <= other.began_s < until_s]
        yield " then ".join([harm.kind, *between]), seconds


def _recovery_s(harm: Harm, history: History) -> float | None:
    """Until the first probe published after the fault is answered; None: it was not."""
    after = [job for job in history.published if job.probe and job.at_s >= harm.ended_s]
    if not after:
        return None
    probe = min(after, key=lambda job: job.at_s)
    answers = [reply.at_s for reply in history.replies if reply.job_id == probe.job_id]
    return max(0.0, min(answers) - harm.ended_s) if answers else None


def _p99(seconds: Sequence[float]) -> float | None:
    """Nearest rank."""
    if not seconds:
        return None
    return round(sorted(seconds)[math.ceil(len(seconds) * 0.99) - 1], 3)
