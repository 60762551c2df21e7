"""A plugged-in detector from the worker's side: a process to ask, and to kill where it hangs."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from broker.plugins.contract import GROUP, Flag, Phase
from broker.plugins.errors import (
    DetectorDied,
    DetectorFailed,
    DetectorFault,
    DetectorGarbage,
    DetectorTimedOut,
    DetectorUnusable,
)
from broker.plugins.frames import LENGTH_BYTES, PHASES, framed, length

_REPLY_BYTES_MAX: Final = 1024 * 1024
_REAP_S: Final = 1.0
_SECRETS: Final = "HEADWORKS_"
"""Variables that begin like this are not the detector's: there are keys among them."""


class Limits(NamedTuple):
    start_s: float
    """Until it must be loaded."""
    look_s: float
    """For one job."""


class Child:
    """`Child.start(…)` makes one. After a DetectorFault with `is_over` it is of no more use."""

    def __init__(self, process: Process, look_s: float) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a detector's process is spoken to by pipes")
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._look_s = look_s
        self.kinds: tuple[str, ...] = ()
        self.version = ""
        self.is_over = False

    @classmethod
    async def start(cls, name: str, limits: Limits) -> "Child":
        """Raises DetectorUnusable, with what is to be mended."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "broker.plugins.host", name, str(2 * limits.look_s)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        child = cls(process, limits.look_s)
        try:
            await child._greet(name, limits.start_s)
        except BaseException:
            await child.kill()
            raise
        return child

    async def _greet(self, name: str, start_s: float) -> None:
        try:
            async with asyncio.timeout(start_s):
                said = await self._read()
        except TimeoutError:
            raise DetectorUnusable(f"detector {name}: it is not ready after {start_s:g} s") from None
        except DetectorFault:
            raise DetectorUnusable(f"detector {name}: its process ended before it was ready") from None
        if "error" in said:
            raise DetectorUnusable(f"detector {name}: {said['error']}")
        self.kinds, self.version = tuple(said["kinds"]), said["version"]

    async def look(self, phase: Phase, value: bytes) -> tuple[Flag, ...]:
        """`value`: a job's envelope, or its answer. Raises DetectorFault; see `is_over`."""
        try:
            async with asyncio.timeout(self._look_s):
                await self._write(PHASES[phase] + value)
                said = await self._read()
        except TimeoutError:
            await self.kill()
            raise DetectorTimedOut(f"no answer within {self._look_s:g} s") from None
        if said.get("fault") == DetectorGarbage.code:
            raise DetectorGarbage(said["error"])
        if "fault" in said:
            raise DetectorFailed(said["error"])
        return tuple(map(Flag.of, said["flags"]))

    async def kill(self) -> None:
        """At once, with all processes that it has started: whatever it is doing, nobody waits for it."""
        self.is_over = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _REAP_S)

    async def _write(self, content: bytes) -> None:
        try:
            self._stdin.write(framed(content))
            await self._stdin.drain()
        except ConnectionError:
            await self._died()

    async def _read(self) -> dict[str, Any]:
        try:
            size = length(await self._stdout.readexactly(LENGTH_BYTES))
            if size > _REPLY_BYTES_MAX:
                await self._died()
            said: dict[str, Any] = orjson.loads(await self._stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, orjson.JSONDecodeError):
            await self._died()
        return said

    async def _died(self) -> NoReturn:
        await self.kill()
        raise DetectorDied("its process ended, or does not speak as it should")


def check(names: Iterable[str]) -> None:
    """Raises DetectorUnusable where one is not installed."""
    installed = {entry.name for entry in entry_points(group=GROUP)}
    for name in names:
        if name not in installed:
            there = ", ".join(sorted(installed)) or "none"
            raise DetectorUnusable(
                f"detectors.{name}: nothing that is installed has an entry point of that name in the group "
                f"{GROUP} (there are: {there})"
            )


def _environment() -> dict[str, str]:
    """With the modules that this process finds, and without its secrets."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    return known | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
