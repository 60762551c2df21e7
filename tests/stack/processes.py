"""Child processes of a stack: started, awaited until ready, measured, stopped or killed."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from tests.services.server import free_port
from tests.stack.children import Begin, Child, Spawned
from tests.stack.waiting import until

READY_TIMEOUT_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One `headworks` command in a process group of its own, which dies with this one."""

    module: ClassVar[str] = "headworks"

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        begin: Begin | None = None,
    ) -> None:
        """`begin`: another way than from nothing."""
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self._begin = begin or partial(Spawned, module=self.module)
        self._child: Child | None = None

    def start(self) -> None:
        self._child = self._begin(self._arguments, {**os.environ, **self._environment}, self.log)

    @property
    def pid(self) -> int:
        return self._running().pid

    def is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """As a power cut would."""
        if self.is_alive():
            self.send(signal.SIGKILL)
        self._running().wait(10)
        self._running().let_go()

    def terminate(self, timeout_s: float = 40) -> int:
        """Ask it to end; its exit status."""
        process = self._running()
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout_s} s:\n{self.tail()}") from None
        self._running().let_go()
        return status

    def close(self) -> None:
        if self._child is not None:
            self.kill()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def events(self) -> list[dict[str, Any]]:
        """What it logged as JSON lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def _running(self) -> Child:
        if self._child is None:
            raise AssertionError(f"{self.name} was not started")
        return self._child


class CommandProcess(Process):
    """A command that ends by itself."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        super().__init__(arguments[0], arguments, environment, log)

    def wait(self, timeout_s: float = 60) -> int:
        """Its exit status."""
        try:
            status = self._running().wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s} s:\n{self.tail()}") from None
        self._running().let_go()
        return status


class WorkerProcess(Process):
    def __init__(
        self, pools: Sequence[str], environment: Mapping[str, str], log: Path, begin: Begin | None = None
    ) -> None:
        self.port = free_port()
        arguments = ["worker", *pools, "--health-port", str(self.port)]
        super().__init__("+".join(pools), arguments, environment, log, begin)

    def start(self, *, wait: bool = True) -> None:
        super().start()
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if not self.is_alive():
                raise AssertionError(f"{self.name} ended at its start:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} was not ready within {timeout_s} s:\n{self.tail()}")
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def troubles(self) -> list[str]:
        """What `/readyz` names."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return list(json.loads(body)["causes"])

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def counted(self, name: str) -> float:
        """The sum of all samples of a counter."""
        samples = [line.split() for line in self.metrics().splitlines() if line.startswith(f"{name}{{")]
        return sum(float(number) for _, number in samples)

    def metric(self, name: str, **labels: str) -> float:
        """One sample; 0 where it was never counted."""
        shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        wanted = f"{name}{{{shown}}} " if labels else f"{name} "
        found = [line for line in self.metrics().splitlines() if line.startswith(wanted)]
        return float(found[0].removeprefix(wanted)) if found else 0.0

    async def knows_revision(self, revision: int) -> None:
        """Return when it has read the identity tables at `revision` or later."""

        async def read() -> bool:
            return any(
                event["revision"] >= revision
                for event in self.events()
                if event["event"] == "directory.refreshed"
            )

        await until(read, f"{self.name} to read the identity tables at {revision}")


class SimulatorProcess(Process):
    """The simulated provider; `calls` are the lines of its log."""

    def __init__(self, folder: Path, *options: str, begin: Begin | None = None) -> None:
        self.port = free_port()
        self.call_log = folder / f"calls-{self.port}.jsonl"
        arguments = ["simulate", "--port", str(self.port), "--log", str(self.call_log), *options]
        super().__init__("simulate", arguments, {}, folder / f"simulate-{self.port}.log", begin)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        super().start()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            if not self.is_alive() or time.monotonic() > deadline:
                raise AssertionError(f"the simulated provider did not come up:\n{self.tail()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def behave(self, behaviour: Mapping[str, Any]) -> None:
        """Replace how it behaves, while it runs."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/faults",
            json.dumps(behaviour).encode(),
            {"content-type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=5):
            pass

    def calls(self) -> list[dict[str, Any]]:
        """Those that are in its log, which is some 20 ms late."""
        if not self.call_log.exists():
            return []
        return [json.loads(line) for line in self.call_log.read_text().splitlines()]

    def counts(self, job_id: UUID | None = None) -> dict[str, Any]:
        """Calls that came in up to now: of one job, or of all."""
        query = "" if job_id is None else f"?job_id={job_id}"
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/calls{query}", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
