"""What the host of a virtual machine took from it: who waits for a core that is not there, waits longer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_STAT = Path("/proc/stat")
_STEAL = 7
"""Of the fields after `cpu`: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5))."""


class Stolen:
    share: float | None = None
    """Of all cores' time, when the block has ended; None where the kernel does not tell."""


class _Ticks(NamedTuple):
    stolen: int
    all: int


@contextmanager
def stolen() -> Iterator[Stolen]:
    """While the block runs."""
    found = Stolen()
    before = _ticks()
    yield found
    after = _ticks()
    if before is not None and after is not None and after.all > before.all:
        found.share = (after.stolen - before.stolen) / (after.all - before.all)


def _ticks() -> _Ticks | None:
    try:
        first = _STAT.read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    fields = [int(field) for field in first]
    return _Ticks(fields[_STEAL], sum(fields)) if len(fields) > _STEAL else None
