"""Where a job is, and what became of it, as the ledger tells it."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from uuid import UUID

from broker.errors import Conflict, NotFound
from broker.store.attempts import AttemptRow
from broker.store.database import Database
from broker.store.history import Histories, JobRecords
from broker.store.parking import REVIEW

Place = Literal["waiting", "parked", "calling", "lost", "retrying", "ending", "ended"]


class Whereabouts(NamedTuple):
    """`at`: waiting (for its first attempt), parked, calling, lost (its worker is gone, and the attempt waits
    to be taken over), retrying (the next attempt waits), ending (its outcome waits for SETTLE), ended.
    """

    at: Place
    text: str
    until_ms: int | None = None
    """When it may go on at the earliest, where it waits for a time."""


class Event(NamedTuple):
    at_ms: int
    event: str
    run: int | None
    attempt: int | None
    detail: Mapping[str, Any]


async def show(database: Database, job_id: UUID, application: str | None = None) -> JobRecords:
    """Raises NotFound; Conflict where several applications have used the id; DatabaseUnavailable."""
    found = await Histories(database).of(job_id)
    if application is not None:
        found = [records for records in found if records.application == application]
    if not found:
        of = "" if application is None else f" of application {application}"
        raise NotFound(f"no job {job_id}{of}: it has not come, or ADMIT has not read it or not believed it")
    if len(found) > 1:
        names = ", ".join(records.application for records in found)
        raise Conflict(f"{names} each have a job {job_id}: name one with --application")
    return found[0]


def whereabouts(records: JobRecords, now_ms: int) -> Whereabouts:
    """Of its latest run. What no row tells, in which topic a record waits, is not told."""
    run = latest_run(records)
    terminal = next((each for each in records.terminals if each.run == run), None)
    if terminal is not None:
        return Whereabouts("ended", ": ".join(part for part in (terminal.kind, terminal.reason) if part))
    parked = [each for each in records.parked if each.run == run]
    if parked:
        due_ms = max(each.due_ms for each in parked)
        reason = parked[-1].reason
        why = "for a reviewer" if reason == REVIEW else f"over {reason.replace('_', ' ')}"
        return Whereabouts("parked", why, due_ms)
    attempts = [each for each in records.attempts if each.run == run]
    if not attempts:
        return Whereabouts("waiting", "for its first attempt")
    return _in_attempt(records, max(attempts, key=lambda each: each.attempt), now_ms)


def _in_attempt(records: JobRecords, last: AttemptRow, now_ms: int) -> Whereabouts:
    verdict = next((each for each in records.verdicts if each.key == last.key), None)
    name = f"attempt {last.attempt}"
    if verdict is None and last.owner in records.living:
        return Whereabouts("calling", f"{name}, to {last.target}, or its answer waits for SETTLE")
    if verdict is None:
        return Whereabouts("lost", f"{name}: its worker is gone")
    after = f"{name}, which came to {verdict.reason}"
    if verdict.due_ms is None or verdict.due_ms >= records.job.deadline_ms:
        return Whereabouts("ending", f"after {after}")
    until_ms = verdict.due_ms if verdict.due_ms > now_ms else None
    return Whereabouts("retrying", f"after {after}", until_ms)


def latest_run(records: JobRecords) -> int:
    runs = [row.run for row in records.attempts]
    runs += [row.run for row in records.parked]
    runs += [row.run for row in records.reviews]
    runs += [row.run for row in records.terminals]
    return max(runs, default=1)


def events(records: JobRecords) -> list[Event]:
    """What is on record, in order of time."""
    return sorted(_events(records), key=lambda each: each.at_ms)


def _events(records: JobRecords) -> Iterator[Event]:
    job = records.job
    yield Event(job.appended_ms, "published", None, None, {"at": job.origin, "lane": job.lane})
    for begun in records.attempts:
        detail = {"target": begun.target, "model": begun.model, "held_nanodollars": begun.hold.nanodollars}
        detail |= {"worker": begun.owner}
        yield Event(begun.started_ms, "attempt begun", begun.run, begun.attempt, detail)
    for said in records.verdicts:
        detail = {"reason": said.reason, "next_due_ms": said.due_ms}
        yield Event(said.at_ms, f"attempt {said.kind}", said.run, said.attempt, detail)
    for charge in records.charges:
        content = charge._asdict()
        names = ("verdict", "reason", "target", "nanodollars", "estimated", "input_tokens", "output_tokens")
        detail = {name: content[name] for name in (*names, "latency_ms")}
        yield Event(charge.at_ms, "charged", charge.run, charge.attempt, detail)
    for found in records.corrections:
        detail = {"nanodollars": found.nanodollars, "now_nanodollars": found.figure_nanodollars}
        detail |= {"by": found.operator, "reference": found.reference}
        yield Event(found.at_ms, "corrected", found.run, found.attempt, detail)
    for parked in records.parked:
        detail = {"reason": parked.reason, "at": f"parked/{parked.partition}/{parked.offset}"}
        yield Event(parked.due_ms, "parked until", parked.run, parked.attempt, detail)
    for cancel in records.cancels:
        detail = {"at": cancel.origin, "key": cancel.key_id}
        yield Event(cancel.at_ms, "called off", None, None, detail)
    yield from _reviews(records)
    for flag in records.flags:
        kinds = " and ".join(f"{found['places'] or ''} {found['kind']}".strip() for found in flag.found)
        detail = {"detector": flag.detector, "found": kinds}
        yield Event(flag.at_ms, f"{flag.phase} flagged", flag.run, None, detail)
    for letter in records.dead_letters:
        detail = {"at": letter.coordinate, "reason": letter.reason}
        yield Event(letter.at_ms, "dead letter", letter.run, None, detail)
    for end in records.terminals:
        detail = {"reason": end.reason, "nanodollars": end.nanodollars, "at": end.outcome}
        detail |= {"reply_sha256": end.value_sha256}
        yield Event(end.at_ms, end.kind, end.run, None, detail)


def _reviews(records: JobRecords) -> Iterator[Event]:
    for held in records.reviews:
        yield Event(held.held_ms, "held for review", held.run, None, {"review": held.id, "rule": held.rule})
        if held.verdict is not None:
            detail = {} if held.decided_by is None else {"by": held.decided_by}
            yield Event(held.decided_ms or 0, f"review {held.verdict}", held.run, None, detail)
