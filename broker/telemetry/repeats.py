"""Lets libraries say the same thing once in a while: aiokafka tells that Kafka is away 200 times a second."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

REPEAT_EVERY_S: Final = 10.0
_KEPT_MAX: Final = 1_000


@dataclass(slots=True)
class _Said:
    at: float
    more: int = 0
    """Times that it was said since, and not passed on."""


class Repeats(logging.Filter):
    """Of the loggers `names` and those below them, each message, whatever it is filled with, once in
    REPEAT_EVERY_S; with `repeated`, how often it was held back since. `clock` gives seconds, monotonic.
    """

    def __init__(self, names: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._names = frozenset(names)
        self._clock = clock
        self._said: dict[tuple[str, int, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._names:
            return True
        now, key = self._clock(), (record.name, record.levelno, str(record.msg))
        said = self._said.get(key)
        if said is not None and now - said.at < REPEAT_EVERY_S:
            said.more += 1
            return False
        if said is not None and said.more:
            record.repeated = said.more
        if len(self._said) >= _KEPT_MAX:
            self._said.clear()
        self._said[key] = _Said(now)
        return True
