"""`headworks policy eval` and `scan`: what the detectors find, on files of texts."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headworks.cli.output import JsonOption, show_renderable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from broker.policy.evaluation import InjectionRow, SpanRow
    from headworks.trial.detectors import Detectors
    from headworks.trial.evaluate import Injections, Spans

PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE.yaml",
        exists=True,
        dir_okay=False,
        help="Look for this document's own types of data too, and flag from its lowest score on.",
    ),
]


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.jsonl", exists=True, dir_okay=False, help="Labelled rows of one kind."),
    ],
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the detectors on labelled rows: what they catch, what they miss, what they flag in error.

    Examples:
        headworks policy eval injections.jsonl
        headworks policy eval injections.jsonl data.jsonl --policy policy.yaml
        headworks policy eval data.jsonl --json > figures.json

    A row is one line of JSON, of one of two kinds; a file holds rows of one kind:
        {"text": "...", "label": 1, "category": "override", "source": "tickets"}
        {"text": "...", "spans": [{"start": 4, "end": 14, "type": "EMAIL"}],
         "source": "mail"}

    `label` is 1 for an attack and 0 for an honest text; `start` and `end` count characters, as Python does. A
    span counts as found where start, end and type agree.

    Of attacks and honest texts there are recall, rate of false positives and precision: of all rows, of the
    core (without indirect_task and harmful_request, which are worded like ordinary tasks), by category and by
    source. Of spans there are recall and precision by type. A malformed row is named by line and field.

    The detectors were made with texts from many sources. Figures on rows of those sources flatter: judge by
    rows of your own.
    """
    from headworks.trial.evaluate import read

    labelled = read(files)
    detectors = _detectors(policy)
    injections = _injections(labelled.injections, detectors)
    spans = _spans(labelled.spans, detectors)
    if not as_json:
        _show(injections, spans)
        return
    counted = {"injections": injections, "spans": spans}
    figures = {name: each.as_json() for name, each in counted.items() if each is not None}
    typer.echo(json.dumps({"files": [str(file) for file in files], **figures}, indent=2))


def scan(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE.jsonl", help="Rows with a `text`, one a line; `-` is standard input."),
    ],
    policy: PolicyOption = None,
) -> None:
    """Write what the detectors find in each row of a file, as one line of JSON each, in order.

    Examples:
        headworks policy scan texts.jsonl > found.jsonl
        zcat texts.jsonl.gz | headworks policy scan -

    A row is a JSON object with a field `text`; other fields are passed over. What is written of it:
        {"score": 41, "flagged": true, "rules": ["override.ignore"],
         "spans": [{"start": 4, "end": 14, "type": "EMAIL"}], "ms": 0.312}

    `rules` are those of the injection detector that fired, the strongest first; `spans` personal and secret
    data, by characters as Python counts them; `ms` what the detectors took. Files may be of any size. At a
    malformed row it ends, with its line and field, after the rows before it have been written.
    """
    from headworks.batch.lines import numbered
    from headworks.trial.progress import progress, timer
    from headworks.trial.scan import LINE_BYTES_MAX
    from headworks.trial.scan import scan as scanned

    with opened(file) as source:
        detectors = _detectors(policy)
        with progress("rows", wanted=not sys.stdout.isatty()) as show:
            for line in scanned(numbered(source, LINE_BYTES_MAX), detectors, timer(show)):
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()


def opened(file: str) -> "AbstractContextManager[BinaryIO]":
    """`-` is standard input."""
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    if not Path(file).is_file():
        raise typer.BadParameter(f"{file} is not a file", param_hint="FILE.jsonl")
    return Path(file).open("rb")


def _detectors(policy: Path | None) -> "Detectors":
    """Raises PolicyInvalid."""
    from broker.policy.revision import PolicyRevision
    from headworks.trial.detectors import Detectors

    return Detectors.load(None if policy is None else PolicyRevision.load(policy.read_bytes()))


def _injections(rows: "list[InjectionRow]", detectors: "Detectors") -> "Injections | None":
    from headworks.trial.evaluate import judge_injections
    from headworks.trial.progress import progress, timer

    if not rows:
        return None
    with progress("injections", len(rows)) as show:
        return judge_injections(rows, detectors, timer(show))


def _spans(rows: "list[SpanRow]", detectors: "Detectors") -> "Spans | None":
    from headworks.trial.evaluate import judge_spans
    from headworks.trial.progress import progress, timer

    if not rows:
        return None
    with progress("spans", len(rows)) as show:
        return judge_spans(rows, detectors, timer(show))


def _show(injections: "Injections | None", spans: "Spans | None") -> None:
    from headworks.cli.policy_tables import injection_tables, span_table, timed

    if injections is not None:
        for table in injection_tables(injections):
            show_renderable(table, folded=False)
            typer.echo()
        typer.echo(timed(injections.judged.report.times))
    if spans is not None:
        show_renderable(span_table(spans), folded=False)
        typer.echo()
        typer.echo(timed(spans.report.times))
