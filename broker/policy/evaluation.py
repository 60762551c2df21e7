"""How well detectors judge labelled rows. Pure: rows and detectors come as arguments, and so does the clock.

A row is one line of JSON, of one of two kinds:

    {"text": str, "label": 0 or 1, "category": str, "source": str}                    injections, 1: attack
    {"text": str, "spans": [{"start": int, "end": int, "type": str}], "source": str}  data loss prevention

Offsets are those of the Python string. A file holds rows of one kind. Blank lines are passed
over, and counted.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from broker.errors import HeadworksError

APART = frozenset({"indirect_task", "harmful_request"})
"""Categories of attack that are worded like ordinary tasks: counted by themselves, not in `core`."""

_NS_PER_MS = 1_000_000
_ARTICLED: Mapping[type, str] = {int: "an integer", str: "a string", list: "a list"}
Verdict = TypeVar("Verdict")
Value = TypeVar("Value")

Clock = Callable[[], int]
"""Nanoseconds."""


class RowInvalid(HeadworksError):
    """The text names line and field, never a value."""

    code = "evaluation_row_invalid"

    def __init__(self, line: int, field: str, what: str, file: str | None = None) -> None:
        place = f"line {line}" if file is None else f"{file}, line {line}"
        super().__init__(f"{place}: {field}: {what}")
        self.line = line
        self.field = field
        self.what = what

    def within(self, file: str) -> "RowInvalid":
        """The same, of a file among several."""
        return RowInvalid(self.line, self.field, self.what, file)


class Found(NamedTuple):
    start: int
    end: int
    type: str


class InjectionRow(NamedTuple):
    text: str
    attack: bool
    category: str
    source: str


class SpanRow(NamedTuple):
    text: str
    spans: frozenset[Found]
    source: str


class Rates(NamedTuple):
    """Of rows that are attacks or not."""

    attacks: int = 0
    caught: int = 0
    benign: int = 0
    flagged: int = 0
    """Of the benign ones."""

    @property
    def recall(self) -> float | None:
        return _ratio(self.caught, self.attacks)

    @property
    def precision(self) -> float | None:
        return _ratio(self.caught, self.caught + self.flagged)

    @property
    def false_positive_rate(self) -> float | None:
        return _ratio(self.flagged, self.benign)

    def as_json(self) -> dict[str, Any]:
        rates = {"recall": self.recall, "precision": self.precision}
        return {**self._asdict(), **rates, "false_positive_rate": self.false_positive_rate}


class Matches(NamedTuple):
    """Of spans; one counts as found where start, end and type agree."""

    expected: int = 0
    found: int = 0
    right: int = 0

    @property
    def recall(self) -> float | None:
        return _ratio(self.right, self.expected)

    @property
    def precision(self) -> float | None:
        return _ratio(self.right, self.found)

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "precision": self.precision, "recall": self.recall}


class Times(NamedTuple):
    """Of one row, by nearest rank."""

    p50_ms: float
    p99_ms: float


class InjectionReport(NamedTuple):
    overall: Rates
    core: Rates
    """Without the categories that are told apart."""
    by_category: Mapping[str, Rates]
    by_source: Mapping[str, Rates]
    times: Times

    def as_json(self) -> dict[str, Any]:
        return {
            "overall": self.overall.as_json(),
            "core": self.core.as_json(),
            "by_category": {name: rates.as_json() for name, rates in self.by_category.items()},
            "by_source": {name: rates.as_json() for name, rates in self.by_source.items()},
            "times": self.times._asdict(),
        }


class SpanReport(NamedTuple):
    overall: Matches
    by_type: Mapping[str, Matches]
    times: Times

    def as_json(self) -> dict[str, Any]:
        return {
            "overall": self.overall.as_json(),
            "by_type": {name: matches.as_json() for name, matches in self.by_type.items()},
            "times": self.times._asdict(),
        }


def read(lines: Iterable[str | bytes]) -> list[InjectionRow] | list[SpanRow]:
    """Rows of one kind, which the first row tells. Raises RowInvalid; also where there are no rows."""
    numbered = ((line, raw) for line, raw in enumerate(lines, start=1) if raw.strip())
    line, raw = next(numbered, (1, None))
    if raw is None:
        raise RowInvalid(line, "row", "there is none")
    fields = _fields(line, raw)
    if "spans" in fields:
        return [_span_row(line, fields), *(_span_row(line, _fields(line, raw)) for line, raw in numbered)]
    return [
        _injection_row(line, fields),
        *(_injection_row(line, _fields(line, raw)) for line, raw in numbered),
    ]


def read_text(line: int, raw: str | bytes) -> str:
    """Of a row of either kind; its other fields may be missing. Raises RowInvalid."""
    return _field(line, _fields(line, raw), "text", str)


def judge_injections(
    rows: Sequence[InjectionRow], is_attack: Callable[[str], bool], clock: Clock = time.perf_counter_ns
) -> InjectionReport:
    verdicts, times = _timed(is_attack, [row.text for row in rows], clock)
    judged = list(zip(rows, verdicts, strict=True))
    return InjectionReport(
        overall=_rates(judged),
        core=_rates((row, verdict) for row, verdict in judged if row.category not in APART),
        by_category=_rates_by(judged, lambda row: row.category),
        by_source=_rates_by(judged, lambda row: row.source),
        times=times,
    )


def judge_spans(
    rows: Sequence[SpanRow],
    find: Callable[[str], Iterable[tuple[int, int, str]]],
    clock: Clock = time.perf_counter_ns,
) -> SpanReport:
    """Types that `find` does not look for count as missed."""
    found, times = _timed(
        lambda text: {Found(*span) for span in find(text)}, [row.text for row in rows], clock
    )
    expected_of, found_of, right_of = Counter[str](), Counter[str](), Counter[str]()
    for row, spans in zip(rows, found, strict=True):
        expected_of.update(span.type for span in row.spans)
        found_of.update(span.type for span in spans)
        right_of.update(span.type for span in row.spans & spans)
    by_type = {
        type_: Matches(expected_of[type_], found_of[type_], right_of[type_])
        for type_ in sorted({*expected_of, *found_of})
    }
    overall = Matches(expected_of.total(), found_of.total(), right_of.total())
    return SpanReport(overall, by_type, times)


def _timed(
    judge: Callable[[str], Verdict], texts: Iterable[str], clock: Clock
) -> tuple[list[Verdict], Times]:
    verdicts: list[Verdict] = []
    taken_ns: list[int] = []
    for text in texts:
        started = clock()
        verdicts.append(judge(text))
        taken_ns.append(clock() - started)
    taken_ns.sort()
    return verdicts, Times(_percentile_ms(taken_ns, 0.5), _percentile_ms(taken_ns, 0.99))


def _percentile_ms(sorted_ns: Sequence[int], share: float) -> float:
    rank = max(1, math.ceil(share * len(sorted_ns)))
    return sorted_ns[rank - 1] / _NS_PER_MS if sorted_ns else 0.0


def _rates(judged: Iterable[tuple[InjectionRow, bool]]) -> Rates:
    counts = Counter((row.attack, verdict) for row, verdict in judged)
    caught, flagged = counts[True, True], counts[False, True]
    return Rates(counts[True, False] + caught, caught, counts[False, False] + flagged, flagged)


def _rates_by(
    judged: Sequence[tuple[InjectionRow, bool]], key: Callable[[InjectionRow], str]
) -> dict[str, Rates]:
    groups: dict[str, list[tuple[InjectionRow, bool]]] = {}
    for row, verdict in judged:
        groups.setdefault(key(row), []).append((row, verdict))
    return {name: _rates(groups[name]) for name in sorted(groups)}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _fields(line: int, raw: str | bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise RowInvalid(line, "row", "not JSON") from None
    if not isinstance(fields, dict):
        raise RowInvalid(line, "row", "not a JSON object")
    return fields


def _injection_row(line: int, fields: Mapping[str, Any]) -> InjectionRow:
    label = _field(line, fields, "label", int)
    if label not in {0, 1}:
        raise RowInvalid(line, "label", "neither 0 nor 1")
    category, source = _field(line, fields, "category", str), _field(line, fields, "source", str)
    return InjectionRow(_field(line, fields, "text", str), label == 1, category, source)


def _span_row(line: int, fields: Mapping[str, Any]) -> SpanRow:
    text = _field(line, fields, "text", str)
    spans = [
        _span(line, f"spans[{index}]", span, len(text))
        for index, span in enumerate(_field(line, fields, "spans", list))
    ]
    return SpanRow(text, frozenset(spans), _field(line, fields, "source", str))


def _span(line: int, path: str, span: object, characters: int) -> Found:
    if not isinstance(span, dict):
        raise RowInvalid(line, path, "not a JSON object")
    start, end = _field(line, span, "start", int, path), _field(line, span, "end", int, path)
    if not 0 <= start < end <= characters:
        raise RowInvalid(line, path, f"not within the text of {characters} characters")
    return Found(start, end, _field(line, span, "type", str, path))


def _field(line: int, fields: Mapping[str, Any], name: str, kind: type[Value], path: str = "") -> Value:
    field = f"{path}.{name}" if path else name
    if name not in fields:
        raise RowInvalid(line, field, "missing")
    value = fields[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RowInvalid(line, field, f"not {_ARTICLED[kind]}")
    return value
