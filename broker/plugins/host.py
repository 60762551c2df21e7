"""The process in which a plugged-in detector runs, so that it can neither slow nor break a worker.

    python -m broker.plugins.host NAME LOOK_S

It says `{"kinds", "version"}` when it is ready, or `{"error"}`, and ends. What comes is a job's envelope, or
its answer; what goes `{"flags"}`, or `{"fault", "error"}` (`frames`). What the detector prints goes nowhere:
it may be a prompt.
"""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import IO, Any, Final, NamedTuple

import orjson

from broker.plugins.contract import GROUP, Detector, Passage, checked_kinds, flags
from broker.plugins.errors import DetectorFailed, DetectorGarbage
from broker.plugins.frames import LENGTH_BYTES, PHASES, framed, length
from broker.policy.answers.reading import TooMuch, read
from broker.policy.texts import texts

_ERROR_CHARS_MAX: Final = 500
_NICENESS: Final = 10
"""A detector has what the workers leave."""


class Loaded(NamedTuple):
    detector: Detector
    kinds: tuple[str, ...]
    version: str
    """Of the distribution that it comes with."""


def found(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)


def load(name: str) -> Loaded:
    """Raises LookupError where there is none of that name, ValueError, and what the detector raises."""
    entry = found(name)
    if entry is None:
        raise LookupError(f"nothing that is installed has an entry point {name} of the group {GROUP}")
    detector = entry.load()()
    version = "" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    if not callable(getattr(detector, "detect", None)):
        raise ValueError("it has no method `detect`")
    return Loaded(detector, checked_kinds(detector.kinds), version[:128])


def serve(name: str, look_s: float, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
    """Until `incoming` ends. A look that takes longer than `look_s` ends the process, whatever it is in."""
    try:
        loaded = load(name)
    except Exception as error:  # noqa: BLE001  # told to the operator, who can mend it
        _write(outgoing, {"error": f"{type(error).__name__}: {error}"[:_ERROR_CHARS_MAX]})
        return
    _write(outgoing, {"kinds": loaded.kinds, "version": loaded.version})
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # faulthandler asks for a file
        while frame := _frame(incoming):
            faulthandler.dump_traceback_later(look_s, exit=True, file=nowhere)
            said = looked(loaded, frame)
            faulthandler.cancel_dump_traceback_later()
            _write(outgoing, said)


def looked(loaded: Loaded, frame: bytes) -> Mapping[str, Any]:
    """Errors are told by their kinds: their texts may quote the job."""
    try:
        passages = _PASSAGES[frame[:1]](orjson.loads(frame[1:]))
        return {"flags": flags(loaded.detector.detect(passages), loaded.kinds, passages)}
    except DetectorGarbage as error:
        return {"fault": error.code, "error": str(error)}
    except TooMuch:
        return {"fault": DetectorFailed.code, "error": "the answer has too many texts"}
    except Exception as error:  # noqa: BLE001  # whatever it is, the next job is another
        return {"fault": DetectorFailed.code, "error": type(error).__name__[:64]}


def _of_request(envelope: Mapping[str, Any]) -> Sequence[Passage]:
    return [Passage(text.role, text.text) for text in texts(envelope["request"])]


def _of_answer(answer: dict[str, Any]) -> Sequence[Passage]:
    return [Passage("assistant", text) for text in read(answer).said]


_PASSAGES: Final[Mapping[bytes, Callable[[Any], Sequence[Passage]]]] = {
    PHASES["request"]: _of_request,
    PHASES["answer"]: _of_answer,
}


def _frame(incoming: IO[bytes]) -> bytes:
    """Empty at the end."""
    head = incoming.read(LENGTH_BYTES)
    return incoming.read(length(head)) if len(head) == LENGTH_BYTES else b""


def _write(outgoing: IO[bytes], said: Mapping[str, Any]) -> None:
    outgoing.write(framed(orjson.dumps(said, default=tuple)))
    outgoing.flush()


def _own_pipes() -> Iterator[IO[bytes]]:
    """Standard input and output, which the detector finds empty and leading nowhere."""
    for number, mode in ((0, "rb"), (1, "wb")):
        own = os.dup(number)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, number)
        os.close(nowhere)
        yield os.fdopen(own, mode)


def main() -> None:
    incoming, outgoing = _own_pipes()
    os.nice(_NICENESS)
    serve(sys.argv[1], float(sys.argv[2]), incoming, outgoing)


if __name__ == "__main__":
    main()
