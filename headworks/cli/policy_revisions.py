"""`headworks policy test` and `diff`: documents, before they decide."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.output import JsonOption, printable, show_one, show_table
from schemas.topics import Lane

if TYPE_CHECKING:
    from broker.policy.decision import DecisionRecord
    from broker.policy.differences import Change
    from broker.policy.document import Document
    from broker.policy.revision import PolicyRevision
    from headworks.trial.replay import Outcome

_SHOWN_MAX = 100
"""Changes in the table for people."""


def _document(metavar: str, told: str) -> Any:
    return typer.Argument(metavar=metavar, exists=True, dir_okay=False, help=told)


def check_document(
    file: Annotated[Path, _document("FILE.yaml", "The policy document.")],
    answers: Annotated[
        str | None,
        typer.Option(metavar="FILE.jsonl", help="Judge these answers by it; `-` is standard input."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a policy document and run the tests in it; say which revision it is.

    Examples:
        headworks policy test policy.yaml
        headworks policy test policy.yaml --json
        headworks policy test policy.yaml --answers answers.jsonl

    This is all that is done before a document may decide, and needs no server. One that is not right is
    refused as `activate` would, with the line, the rule and the reason:
        line 12, rule hot: when: a job may lack `request.temperature`: ...
        line 31, rule model-approved: should not match and does

    With --answers, each line of the file is a JSON object with a `request` and the provider's `response` to
    it (and an `endpoint`, where it is not that of chats); what would be decided on it is shown.

    Exit status: 0 it may be used; 1 it may not.
    """
    from broker.errors import PolicyInvalid
    from broker.policy.revision import PolicyRevision

    try:
        revision = PolicyRevision.load(file.read_bytes())
    except PolicyInvalid as error:
        if not as_json:
            raise
        broken = {"line": error.line, "rule": error.rule, "reason": error.reason}
        typer.echo(json.dumps({"valid": False, **broken}, indent=2))
        raise typer.Exit(1) from None
    told = {"valid": True, "revision": revision.id, **_contents(revision.document)}
    judged = [] if answers is None else _judged(revision, answers)
    if as_json:
        told |= {} if answers is None else {"answers": [{"line": line, **each} for line, each in judged]}
        show_one(told, as_json=True)
        return
    show_one(told, as_json=False)
    if answers is not None:
        rows = [(str(line), *(_cell(each[name]) for name in _ANSWER_HEADINGS)) for line, each in judged]
        show_table(("line", *_ANSWER_HEADINGS), rows, folded=False)


_ANSWER_HEADINGS = ("effect", "reason", "rules", "monitored", "types", "redacted")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _judged(revision: "PolicyRevision", file: str) -> list[tuple[int, dict[str, Any]]]:
    """Raises RowInvalid."""
    from headworks.batch.lines import numbered
    from headworks.cli.policy_eval import opened
    from headworks.cli.policy_live import told_of_answer
    from headworks.trial.answers import judge_answers
    from headworks.trial.scan import LINE_BYTES_MAX

    with opened(file) as source:
        decided = list(judge_answers(numbered(source, LINE_BYTES_MAX), revision))
    return [
        (line, {name.removeprefix("answer_"): told for name, told in told_of_answer(decision).items()})
        for line, decision in decided
    ]


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The document that decides now, or a revision.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one that is to decide.")],
    file: Annotated[
        str | None, typer.Argument(metavar="FILE.jsonl", help="Jobs, one a line; `-` is standard input.")
    ] = None,
    *,
    topic: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Jobs that Kafka has, in place of a file.")
    ] = None,
    last: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of a topic: so many of each partition, the newest.")
    ] = 1_000,
    project: Annotated[
        str, typer.Option(metavar="ORG/PROJECT", help="Whose jobs a file has, for rules with such a scope.")
    ] = "example/example",
    application: Annotated[
        str, typer.Option(metavar="NAME", help="Which application's a file has.")
    ] = "example",
    lane: Annotated[
        Lane, typer.Option(metavar="LANE", help="Of a file: interactive, standard or bulk.")
    ] = Lane.STANDARD,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Of a file: a label of its models' targets; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide jobs by two policy documents, and list those on which they differ.

    Examples:
        headworks policy diff policy.yaml new.yaml jobs.jsonl
        headworks policy diff old.yaml new.yaml jobs.jsonl --project acme/search
        headworks policy diff 4f2a90c1d3e7 new.yaml --topic jobs.standard

    A line is an envelope, as applications publish it, or a line of the OpenAI Batch format, as
    `headworks run` takes it. Of a topic those records are jobs that ADMIT has registered; whose they are the
    ledger says, and where targets lie the settings do. A revision is one that `headworks policy list` shows.

    Each job is decided as a request, by the detectors that come with this version. Two decisions differ where
    the effect, the reason, the rules that count, what is taken out or the regions do; scores and rules that
    only monitor make no difference.

    Lines and records that are no such jobs, and jobs that would be refused for their form before any policy
    saw them, are counted and passed over; the first is named. Exit status 1: there is no job.
    """
    from broker.ops.projects import Address
    from headworks.cli import policy_replay

    if (file is None) is (topic is None):
        raise typer.BadParameter("name a file, or --topic")
    before, after = policy_replay.revision(old), policy_replay.revision(new)
    if topic is not None:
        outcome = policy_replay.of_topic(topic, last, before, after)
    else:
        address = Address.parse(project)
        regions = tuple(sorted(set(region or ())))
        names = (address.organization, address.project, application, lane.value, regions)
        outcome = policy_replay.of_file(file or "", before, after, names)
    _tell(before, after, outcome, as_json=as_json)


def _tell(before: "PolicyRevision", after: "PolicyRevision", outcome: "Outcome", *, as_json: bool) -> None:
    """Raises what refused the jobs where none was left to compare."""
    if outcome.refusal is not None and not outcome.counts.compared:
        raise outcome.refusal
    if as_json:
        typer.echo(json.dumps(_record(before, after, outcome), indent=2))
    else:
        _show(outcome)


def _contents(document: "Document") -> dict[str, Any]:
    rules = document.rules
    return {
        "description": document.description,
        "rules": len(rules),
        "enforced": sum(rule.mode == "enforce" for rule in rules),
        "monitored": sum(rule.mode == "monitor" for rule in rules),
        "tests": sum(len(rule.tests.must_match) + len(rule.tests.must_not_match) for rule in rules),
        "untested": [rule.id for rule in rules if not rule.tests.must_match],
        "sections": [name for name in ("injection", "dlp", "answer") if name in document.model_fields_set],
    }


def _record(before: "PolicyRevision", after: "PolicyRevision", outcome: "Outcome") -> dict[str, Any]:
    return {
        "before": before.id,
        "after": after.id,
        "compared": outcome.counts.compared,
        "changed": outcome.counts.changed,
        "refused": outcome.refused,
        "changes": [
            {
                "line": line,
                "label": change.label,
                "gained": change.gained,
                "lost": change.lost,
                "before": change.before.model_dump(mode="json"),
                "after": change.after.model_dump(mode="json"),
            }
            for line, change in outcome.changes
        ],
    }


def _show(outcome: "Outcome") -> None:
    if outcome.changes:
        rows = [_row(line, change) for line, change in outcome.changes[:_SHOWN_MAX]]
        show_table(("line", "job", "before", "after", "rules gained", "rules lost"), rows, folded=False)
    if len(outcome.changes) > _SHOWN_MAX:
        typer.echo(f"The first {_SHOWN_MAX} of them; --json has all.", err=True)
    typer.echo(f"{outcome.counts.changed:,} of {outcome.counts.compared:,} jobs change.", err=True)
    if outcome.refused:
        typer.echo(f"No jobs, or not such as pass: {outcome.refused:,}; first, {outcome.refusal}", err=True)


def _row(line: int, change: "Change") -> tuple[str, ...]:
    rules = (", ".join(names) or "-" for names in (change.gained, change.lost))
    return str(line), printable(change.label), _told(change.before), _told(change.after), *rules


def _told(record: "DecisionRecord") -> str:
    """The effect, and what goes with it."""
    parts = [record.effect if record.reason in {"rule", "default"} else f"{record.effect} ({record.reason})"]
    if record.redactions:
        parts.append("+".join(redaction.type for redaction in record.redactions))
    if record.regions is not None:
        parts.append(f"in {'|'.join(record.regions)}")
    return " ".join(parts)
