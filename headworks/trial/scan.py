"""What the detectors find in each row of a file, as it comes by: bounded memory, whatever the file's size."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import orjson

from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.spans import Span
from broker.policy.evaluation import Clock, RowInvalid, read_text
from broker.policy.injection import Detection
from headworks.batch.lines import Line
from headworks.trial.detectors import Detectors

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
_NS_PER_MS = 1_000_000
_MODEL = "model."


def scan(lines: Iterable[Line], detectors: Detectors, clock: Clock) -> Iterator[bytes]:
    """A line of JSON for each row, in order. Raises RowInvalid at the first malformed one.

    `ms` is what the detectors took. Blank lines are passed over, and counted.
    """
    for line in lines:
        raw = whole(line)
        if raw.strip():
            yield orjson.dumps(
                _scanned(read_text(line.number, raw), detectors, clock), option=orjson.OPT_APPEND_NEWLINE
            )


def whole(line: Line) -> bytes:
    """Raises RowInvalid where it is longer than the limit."""
    if line.raw is None:
        raise RowInvalid(line.number, "row", f"longer than {LINE_BYTES_MAX} bytes")
    return line.raw


def _scanned(text: str, detectors: Detectors, clock: Clock) -> dict[str, Any]:
    """A text with too much in it to be told apart would be refused: flagged, under that error's code."""
    started_ns = clock()
    detection = detectors.injection.scan(text)
    spans: Sequence[Span] = ()
    refused: list[str] = []
    try:
        spans = detectors.finder.find(text)
    except TooMuchFound as error:
        refused = [error.code]
    taken_ns = clock() - started_ns
    return {
        "score": detection.score,
        "flagged": bool(refused) or detection.score >= detectors.flag_at,
        "rules": [*fired(detection), *refused],
        "spans": [{"start": start, "end": end, "type": type_} for start, end, type_ in spans],
        "ms": round(taken_ns / _NS_PER_MS, 3),
    }


def fired(detection: Detection) -> list[str]:
    """Rules and marks, and those parts of the linear model that speak for an attack; strongest first."""
    return [hit.id for hit in detection.rules if hit.contribution > 0 or not hit.id.startswith(_MODEL)]
