"""The summary at the end of a run, for people."""

from rich.table import Table

from headworks.batch.pace import clock
from headworks.batch.tally import Tally, dollars


def table(tally: Tally, elapsed_s: float) -> Table:
    grid = Table(title="Summary", title_justify="left", show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    for name, value in _rows(tally, elapsed_s):
        grid.add_row(name, value)
    return grid


def _rows(tally: Tally, elapsed_s: float) -> list[tuple[str, str]]:
    rows = [("done in an earlier session", tally.earlier)] if tally.earlier else []
    rows.append(("answered", tally.answered))
    for name, counts in (
        ("refused", tally.refused),
        ("dead", tally.dead),
        ("outcome unknown", tally.unknown),
        ("malformed", tally.malformed),
    ):
        rows += [(f"{name}: {code}", count) for code, count in counts.most_common()]
    rows += [(name, count) for name, count in _rare(tally) if count]
    rows += [("tokens in", tally.input_tokens), ("tokens out", tally.output_tokens)]
    return [*((name, f"{count:,}") for name, count in rows), *_measures(tally, elapsed_s)]


def _rare(tally: Tally) -> list[tuple[str, int]]:
    return [
        ("expired", tally.expired),
        ("cancelled", tally.cancelled),
        ("answered, answer no longer kept", tally.gone),
        ("published again, not acknowledged", tally.undelivered),
    ]


def _measures(tally: Tally, elapsed_s: float) -> list[tuple[str, str]]:
    rate = tally.replied / elapsed_s if elapsed_s > 0 else 0.0
    return [
        ("dollars", dollars(tally.nanodollars)),
        ("submit to reply, p50", _duration(tally.latencies.percentile(50))),
        ("submit to reply, p95", _duration(tally.latencies.percentile(95))),
        ("elapsed", _duration(elapsed_s)),
        ("jobs a second", f"{rate:,.1f}"),
    ]


def _duration(duration_s: float | None) -> str:
    if duration_s is None:
        return "-"
    if duration_s < 10:
        return f"{duration_s * 1000:,.0f} ms"
    return f"{duration_s:.1f} s" if duration_s < 60 else clock(duration_s)
