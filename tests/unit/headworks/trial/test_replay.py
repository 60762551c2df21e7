"""Jobs of a file, decided by two revisions."""

import json
from typing import Any

import pytest

from broker.policy.detections import Detection
from broker.policy.dlp.finder import FOUND_MAX
from broker.policy.evaluation import RowInvalid
from broker.policy.injection import Detection as Scanned
from broker.policy.revision import PolicyRevision
from headworks.batch.lines import Line
from headworks.trial.replay import Outcome, Remembering, Side, Whose, read_job, replay
from schemas.envelope import Tags
from tests.unit.broker.policy.jobs import CHAT, EMBEDDINGS, revision, rule

WHOSE = Whose("acme", "support", "support-bot", "standard")
ENVELOPE = {
    "version": 1,
    "endpoint": "/v1/embeddings",
    "request": EMBEDDINGS,
    "tags": {"department": "people"},
}
BATCH = {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}


class Quiet:
    """Finds no injection, and counts the texts that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scan(self, text: str) -> Detection:
        self.asked.append(text)
        return Scanned(0, ())


def line(fields: Any, number: int = 1) -> Line:
    return Line(number, json.dumps(fields).encode())


def replayed(before: PolicyRevision, after: PolicyRevision, *rows: Any, whose: Whose = WHOSE) -> Outcome:
    sides = Side(before, Quiet()), Side(after, Quiet())
    outcome = Outcome()
    for each in replay([line(row, number) for number, row in enumerate(rows, 1)], *sides, whose):
        outcome.add(each)
    return outcome


def test_an_envelope_is_a_job() -> None:
    job = read_job(line(ENVELOPE, 4))
    assert (job.label, job.endpoint, job.request) == ("line 4", "/v1/embeddings", EMBEDDINGS)
    assert job.tags == Tags(department="people")


def test_a_line_of_a_batch_is_a_job_with_its_tags() -> None:
    body = CHAT | {"metadata": {"user": "ann", "ticket": "T-1"}}
    job = read_job(line(BATCH | {"body": body}))
    assert (job.label, job.tags) == ("a-1", Tags(user="ann"))
    assert job.request == CHAT | {"metadata": {"ticket": "T-1"}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], "line 3: row: "),
        ({}, "line 3: version: "),
        (ENVELOPE | {"endpoint": "/v1/other"}, "line 3: endpoint: "),
        (ENVELOPE | {"request": {"model": "m"}}, "line 3: input: is required"),
        (BATCH | {"url": "/v1/other"}, "line 3: row: url must be"),
        (BATCH | {"body": CHAT | {"speed": 9}}, "line 3: speed: "),
        ({"custom_id": ""}, "line 3: row: custom_id must be"),
    ],
)
def test_what_is_no_job_is_named_by_line_and_field(fields: Any, told: str) -> None:
    with pytest.raises(RowInvalid, match=f"^{told}"):
        read_job(line(fields, 3))


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"custom_id"', None])
def test_what_is_no_json_is_refused(raw: bytes | None) -> None:
    with pytest.raises(RowInvalid, match=r"^line 2: row: "):
        read_job(Line(2, raw))


def test_changes_are_listed_with_their_lines_and_counted() -> None:
    before = revision(rule("small", 'request.model == "gpt-4o-mini"', effect="flag"))
    after = revision(rule("small-now", 'request.model == "gpt-4o-mini"'))
    outcome = replayed(before, after, ENVELOPE, BATCH, [], BATCH | {"custom_id": "a-2"})
    assert [(number, change.label) for number, change in outcome.changes] == [(2, "a-1"), (4, "a-2")]
    assert (outcome.counts.compared, outcome.counts.changed, outcome.refused) == (3, 2, 1)
    assert outcome.counts.effects == {("flag", "deny"): 2}
    assert str(outcome.refusal).startswith("line 3: row: ")


def test_blank_lines_are_passed_over() -> None:
    side = Side(revision(rule()), Quiet())
    assert [each.line for each in replay([Line(1, b" "), line(BATCH, 2)], side, side, WHOSE)] == [2]


def test_each_revision_looks_for_its_own_types_of_data() -> None:
    before = revision()
    after = revision(
        dlp={"request": {"WORD": "block"}, "dictionaries": [{"type": "WORD", "words": ["sesame-open-1701"]}]}
    )
    [(_, change)] = replayed(before, after, BATCH).changes
    assert (change.before.types, change.after.types) == ((), (("WORD", 1),))
    assert change.gained == ("dlp.request.word",)


def test_a_job_that_no_finder_reads_to_its_end_is_refused() -> None:
    full = CHAT | {"messages": [{"role": "user", "content": "a@b.co " * (FOUND_MAX + 1)}]}
    outcome = replayed(revision(), revision(rule()), BATCH | {"body": full}, BATCH)
    assert (outcome.counts.compared, outcome.refused) == (1, 1)
    assert str(outcome.refusal) == f"line 1: row: more than {FOUND_MAX} findings of type EMAIL in one text"


def test_scopes_see_whose_jobs_they_are() -> None:
    scope = {
        "organization": ["acme"],
        "project": ["support"],
        "application": ["support-bot"],
        "lane": ["bulk"],
    }
    after = revision(rule("scoped", scope=scope), rule("region", '"eu" in regions', effect="flag"))
    [(_, change)] = replayed(
        revision(), after, BATCH, whose=Whose("acme", "support", "support-bot", "bulk", ("eu",))
    ).changes
    assert change.gained == ("region", "scoped")
    assert replayed(revision(), after, BATCH).changes == []


def test_a_text_is_scanned_once_for_both() -> None:
    quiet = Quiet()
    remembering = Remembering(quiet)
    side = Side(revision(), remembering)
    assert len(list(replay([line(BATCH), line(BATCH, 2)], side, side, WHOSE))) == 2
    assert len(quiet.asked) == 1
