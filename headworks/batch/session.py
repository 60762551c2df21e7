"""One session of a run: from opening the files to the last line, an interrupt or an error."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from broker.errors import HeadworksError
from broker.settings import KafkaSettings
from headworks.batch.files import Outputs
from headworks.batch.identity import Run, default_run_id
from headworks.batch.lines import Contents, inspect, lines_of
from headworks.batch.progress import Reporter
from headworks.batch.runner import Plan, Runner
from headworks.batch.tally import Tally
from headworks.client import Client
from headworks.client.credentials import resolve
from headworks.client.job import NO_RETRY
from schemas.envelope import RetryPolicy
from schemas.topics import Lane

_TICK_S = 0.25
_FLUSH_EVERY_S = 1.0
_QUIET_S = 30.0
_QUIET = (
    "Nothing has come back for half a minute: do the workers run, and is the credential valid? "
    "`headworks doctor --client` looks. A job that waits for its budget waits in silence too."
)


class NothingComesBack(HeadworksError):
    code = "nothing_comes_back"


@dataclass(frozen=True, slots=True)
class Options:
    source: Path | None
    """None is standard input."""
    output: Path
    errors: Path
    lane: Lane
    in_flight: int
    run_id: str | None
    ttl_s: int
    retry: RetryPolicy
    idle_timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Ending:
    tally: Tally
    run_id: str
    elapsed_s: float
    interrupted: bool


class Session:
    def __init__(self, options: Options, kafka: KafkaSettings) -> None:
        """Raises SecretMissing, SettingsInvalid; OSError where the input cannot be read."""
        credential = resolve()
        contents = None if options.source is None else inspect(options.source)
        self.run = Run(credential.application, options.run_id or _run_id(options, contents))
        self.tally = Tally(None if contents is None else contents.lines)
        self._options = options
        self._line_bytes_max = kafka.jobs_record_bytes_max
        self._client = Client(
            credential,
            kafka=kafka,
            instance=self.run.instance,
            remember=False,
            lane=options.lane,
            open_max=options.in_flight,
        )

    async def execute(self, reporter: Reporter) -> Ending:
        """Until the last line, or SIGINT or SIGTERM; what is done by then is in the files, whatever ended it.

        Raises OutputUnfit, NothingComesBack, and what `Client.start` and `Runner.run` raise.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        work = asyncio.create_task(self._work(reporter))
        with _interrupting(work):
            await asyncio.wait((work,))
        reporter.close(self.tally, loop.time())
        if not work.cancelled():
            work.result()
        return Ending(self.tally, self.run.run_id, loop.time() - began_s, work.cancelled())

    async def _work(self, reporter: Reporter) -> None:
        options = self._options
        retry = NO_RETRY if options.retry == NO_RETRY else options.retry
        plan = Plan(self.run, options.in_flight, options.ttl_s, retry)
        with (
            Outputs(options.output, options.errors, self.run.tag) as outputs,
            _opened(options.source) as file,
        ):
            async with self._client:
                runner = Runner(self._client, plan, outputs, self.tally)
                running = asyncio.create_task(runner.run(lines_of(file, self._line_bytes_max)))
                try:
                    await self._watch(running, outputs, reporter)
                finally:
                    running.cancel()
                    await asyncio.wait((running,))

    async def _watch(self, running: asyncio.Task[None], outputs: Outputs, reporter: Reporter) -> None:
        """Flush the files each second, say how it goes, and complain when nothing comes back."""
        loop = asyncio.get_running_loop()
        silence = Silence(self._options.idle_timeout_s, loop.time())
        flush_due_s = loop.time()
        while not running.done():
            await asyncio.wait((running,), timeout=_TICK_S)
            now_s = loop.time()
            reporter.show(self.tally, now_s)
            if silence.look(self.tally, now_s):
                reporter.note(_QUIET)
            if now_s >= flush_due_s:
                outputs.flush()
                flush_due_s = now_s + _FLUSH_EVERY_S
        running.result()


class Silence:
    """Whether jobs are open and nothing has come back for long."""

    def __init__(self, give_up_after_s: float | None, now_s: float) -> None:
        self._give_up_after_s = give_up_after_s
        self._since_s = now_s
        self._replied = 0
        self._complained = False

    def look(self, tally: Tally, now_s: float) -> bool:
        """True once in each silence, when it is time to say so. Raises NothingComesBack."""
        if tally.replied != self._replied or tally.open == 0:
            self._replied, self._since_s, self._complained = tally.replied, now_s, False
            return False
        silent_s = now_s - self._since_s
        if self._give_up_after_s is not None and silent_s >= self._give_up_after_s:
            raise NothingComesBack(f"{tally.open} jobs are open and nothing came back in {silent_s:.0f} s")
        due = silent_s >= _QUIET_S and not self._complained
        self._complained = self._complained or due
        return due


def _run_id(options: Options, contents: Contents | None) -> str:
    """Of a pipe nothing is known beforehand: each time it is a new run."""
    if contents is None:
        return secrets.token_hex(16)
    return default_run_id(
        contents.sha256, options.ttl_s, options.retry.attempts_max, options.retry.at_most_once
    )


@contextmanager
def _opened(source: Path | None) -> Iterator[BinaryIO]:
    if source is not None:
        with source.open("rb") as file:
            yield file
        return
    yield open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115  # left to the thread that reads it


@contextmanager
def _interrupting(work: asyncio.Task[None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the work in its own orderly way, the second one at once."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        restore()
        work.cancel()

    def restore() -> None:
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        restore()
