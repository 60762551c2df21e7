"""Processes of `headworks` that begin with all of it imported, which is most of what a worker's start takes.

They are forked from a server that imported it once. What follows is as with `python -m headworks`: each has
an environment, a session and a log of its own, and cannot outlive the process that asked for it.
https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import parent_process
from pathlib import Path

_IMPORTED_ONCE = [
    "tests.forked",
    "headworks.cli",
    "headworks.simulate.cli",
    "workers.app",
    "uvicorn",
    "uvloop",
]
_LEASH = "read -r _; kill -KILL -$1"


class Forked:
    """Started when it is made. As `subprocess.Popen` where they have a name in common."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED_ONCE)
        self._process = context.Process(target=_run, args=(list(arguments), dict(environment), str(log)))
        self._process.start()
        self.pid = self._process.pid or 0
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._process.exitcode
        return self._status

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self._status is None:
            self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return status

    def let_go(self) -> None:
        """Of one that has ended."""
        self._process.close()


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    from headworks.cli import main  # noqa: PLC0415 - whoever asks for a process needs no command line

    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    _hold_on_to_parent()
    _write_to(log)
    sys.argv = ["headworks", *arguments]
    main()


def _hold_on_to_parent() -> None:
    """A shell ends our session as soon as our parent is gone, even while we are stopped."""
    parent = parent_process()
    assert parent is not None
    command = ["/bin/sh", "-c", _LEASH, "leash", str(os.getpid())]
    os.posix_spawn("/bin/sh", command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, parent.sentinel, 0)])


def _write_to(log: str) -> None:
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(sink, sys.stdout.fileno())
    os.dup2(sink, sys.stderr.fileno())
    os.close(sink)
