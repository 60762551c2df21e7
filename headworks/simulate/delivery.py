"""An answer as the connection plays it: timed writes of bytes, and what happens to the connection then."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from headworks.simulate.behaviour import Fault

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
STEP_BYTES_MAX: Final = 256 * 1024
LAST_CHUNK: Final = b"0\r\n\r\n"


class Ending(Enum):
    KEEP = auto()
    """The connection serves its next request."""
    CLOSE = auto()
    HANG = auto()
    """Nothing more, until the caller gives up."""


@dataclass(frozen=True, slots=True)
class Step:
    after_ms: float
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Delivery:
    steps: tuple[Step, ...]
    ending: Ending = Ending.KEEP


def head_of(status: int, headers: Mapping[str, str], content_type: str, length: int | None) -> bytes:
    """Status line and headers; `length` None announces a chunked body."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    lines = f"HTTP/1.1 {status} {_phrase(status)}\r\nx-simulated: true\r\ncontent-type: {content_type}\r\n"
    return f"{lines}{more}{framing}\r\n\r\n".encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Simulated"  # 529 and other statuses that providers made up themselves


def whole(
    status: int,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    after_ms: float = 0,
    close: bool = False,
) -> Delivery:
    """A JSON answer in one piece, or in a few where it is large."""
    data = head_of(status, headers or {}, JSON, len(body)) + body
    ending = Ending.CLOSE if close else Ending.KEEP
    if len(data) <= STEP_BYTES_MAX:
        return Delivery((Step(after_ms, data),), ending)
    view = memoryview(data)
    starts = range(0, len(data), STEP_BYTES_MAX)
    return Delivery(
        tuple(Step(0 if start else after_ms, view[start : start + STEP_BYTES_MAX]) for start in starts),
        ending,
    )


def hang() -> Delivery:
    return Delivery((), Ending.HANG)


def drop(after_ms: float) -> Delivery:
    return Delivery((Step(after_ms, b""),), Ending.CLOSE)


def drop_in_body(body: bytes, headers: Mapping[str, str], after_ms: float) -> Delivery:
    """Announces the whole length, sends half, closes."""
    data = head_of(200, headers, JSON, len(body)) + body[: len(body) // 2]
    return Delivery((Step(after_ms, data),), Ending.CLOSE)


def streamed(
    events: Iterable[bytes], headers: Mapping[str, str], after_ms: float, gap_ms: float, fault: Fault | None
) -> Delivery:
    """A chunked event stream: the first event after `after_ms`, each further one `gap_ms` later.

    TRUNCATED ends it properly at half of its events, DROP_IN_BODY closes there; BROKEN_JSON spoils one event.
    """
    sent = list(events)
    if fault is Fault.BROKEN_JSON:
        sent[len(sent) // 2] = b'data: {"simulated": true]\n\n'
    if fault in {Fault.TRUNCATED, Fault.DROP_IN_BODY}:
        del sent[len(sent) // 2 :]
    head = head_of(200, headers, EVENT_STREAM, None)
    steps = [Step(gap_ms if place else after_ms, _chunk(event)) for place, event in enumerate(sent)]
    steps[0] = Step(after_ms, head + steps[0].data)
    if fault is Fault.DROP_IN_BODY:
        return Delivery(tuple(steps), Ending.CLOSE)
    return Delivery((*steps, Step(0, LAST_CHUNK)))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
