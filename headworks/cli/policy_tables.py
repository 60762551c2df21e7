"""What an evaluation has counted, as people read it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.table import Table

from broker.policy.dlp.spans import Kind
from broker.policy.evaluation import Matches, Rates, Times
from headworks.cli.output import printable
from headworks.trial.evaluate import THRESHOLDS, Injections, Judged, Spans

_RATES: Final = ("recall", "false positives", "precision", "attacks", "caught", "benign", "flagged")
_MATCHES: Final = ("recall", "precision", "expected", "found", "right")


def injection_tables(counted: Injections) -> Iterator[Table]:
    report = counted.judged.report
    titled = f"Injections: {counted.rows:,} rows, flagged from a score of {counted.judged.flag_at} on"
    yield _rates(titled, "", {"all": report.overall, "core": report.core})
    if counted.at:
        yield _thresholds(counted.at)
    yield _rates("", "category", report.by_category)
    yield _rates("", "source", report.by_source)


def span_table(counted: Spans) -> Table:
    rows = {**counted.report.by_type, "all but names": counted.sought}
    table = _table(f"Personal and secret data: {counted.rows:,} rows", "type", _MATCHES)
    for name, matches in rows.items():
        table.add_row(printable(name), *_matches(matches))
    if Kind.PERSON in counted.report.by_type:
        table.caption = "PERSON is found by plug-ins alone, beside policy (docs/policy.md)."
    return table


def timed(times: Times) -> str:
    return f"{times.p50_ms:.3f} ms a row at the median, {times.p99_ms:.3f} ms at p99"


def _thresholds(at: Mapping[str, Judged]) -> Table:
    """Of the core, where the thresholds are set."""
    table = _table(
        "Core recall by threshold", "set for", ("from score", "recall", "false positives", "precision")
    )
    for name, judged in at.items():
        core = judged.report.core
        figures = (core.recall, core.false_positive_rate, core.precision)
        table.add_row(THRESHOLDS[name], str(judged.flag_at), *map(percent, figures))
    return table


def _rates(title: str, what: str, named: Mapping[str, Rates]) -> Table:
    table = _table(title, what, _RATES)
    for name, rates in named.items():
        shares = map(percent, (rates.recall, rates.false_positive_rate, rates.precision))
        table.add_row(printable(name), *shares, *_counts(rates))
    return table


def _matches(matches: Matches) -> tuple[str, ...]:
    return percent(matches.recall), percent(matches.precision), *_counts(matches)


def _table(title: str, what: str, figures: Iterable[str]) -> Table:
    table = Table(title=title or None, title_justify="left", caption_justify="left", box=None, pad_edge=False)
    table.add_column(what, overflow="fold")
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table


def _counts(counts: Iterable[int]) -> Iterator[str]:
    return (f"{count:,}" for count in counts)


def percent(share: float | None) -> str:
    """None: nothing to take a share of."""
    return "-" if share is None else f"{100 * share:.1f} %"
