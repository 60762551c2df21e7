"""A server as a local process. It ends when we end, however we end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from broker.kafka.embedded import leashed

LOG_LINES_SHOWN = 30


class LocalProcess:
    """A command that runs in `home`, as `user` where one is named, and logs to `log` in it."""

    def __init__(
        self,
        command: Sequence[str],
        home: Path,
        *,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 20,
    ) -> None:
        self._command = command
        self._home = home
        self._user = user
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                leashed(*self._command),
                cwd=self._home,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )

    def stop(self) -> None:
        process = self._started()
        self.resume()
        process.send_signal(self._stop_signal)
        try:
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._let_go()

    def kill(self) -> None:
        family = self._family()
        _signal(family, signal.SIGKILL)
        self._started().wait()
        wait_until_gone(family, timeout_s=10)
        self._let_go()

    def pause(self) -> None:
        _signal(self._family(), signal.SIGSTOP)

    def resume(self) -> None:
        _signal(reversed(self._family()), signal.SIGCONT)

    def wait(self, timeout_s: float) -> bool:
        try:
            self._started().wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_tail(self) -> str:
        lines = (self._home / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self._let_go()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the process was not started")
        return self._process

    def _family(self) -> list[int]:
        return descent(self._started().pid)

    def _let_go(self) -> None:
        if self._process is None or self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def descent(root: int) -> list[int]:
    """The ids of a process and its living descendants, each behind its parent.

    Process groups do not tell: PostgreSQL's backends lead groups of their own.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in _living():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def wait_until_gone(pids: Sequence[int], *, timeout_s: float) -> None:
    """Return when none of the processes lives. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while left := {pid for pid, _ in _living()} & set(pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(left)} still live after {timeout_s:g} s")
        time.sleep(0.02)


def _living() -> list[tuple[int, int]]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True, timeout=10
    )
    rows = (line.split() for line in listing.stdout.splitlines())
    return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
