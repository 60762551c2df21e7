"""Carries a plan of faults out, one after the other, and keeps a record of what was done to whom."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tests.crucible import mischief, provider
from tests.crucible.arena import WORKERS_A_GROUP, Arena, consumer_groups
from tests.crucible.history import Harm
from tests.crucible.patience import within
from tests.crucible.plan import Fault, Kind
from tests.services import Server
from tests.stack import WorkerProcess

_COMES_THERE_WITHIN_S = 20.0
_ENDS_WITHIN_S = 40.0
"""A worker that was told to stop; then it is killed, and that is an error of the run."""
_CUT_EVERY_S = 0.3
_LOOK_EVERY_S = 0.5
_REVIVE_AFTER_S = 5.0
"""As supervisors wait: six workers that start again and again leave no server the CPU to come back."""
_BEFORE_KAFKA_S = 20.0
_SLOW_S = 0.15
"""Of every byte, each way."""
_OF_WORKERS = frozenset({"kill", "pause", "renew"})
_OF_GROUPS = frozenset({"roll", "join", "rewind"})
_OF_PARTS = frozenset({"still", "cut", "slow"})
_OF_TOPICS = frozenset({"echo", "widen"})

Act = Callable[[Fault, list[int]], Awaitable[None]]
"""Does it, and adds the workers that it strikes."""


class Nemesis:
    def __init__(self, arena: Arena, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._say = say
        self.harms: list[Harm] = []
        self.errors: list[str] = []
        """What could not be carried out as it was meant."""
        self._held: list[WorkerProcess] = []
        self._acts: Mapping[Kind, Act] = {
            "kill": self._kill,
            "kill_at": self._kill_at,
            "kill_all": self._kill_all,
            "pause": self._pause,
            "renew": self._renew,
            "roll": self._roll,
            "join": self._join,
            "rewind": self._rewind,
            "echo": self._echo,
            "widen": self._widen,
            "flush": self._flush,
            "full": self._full,
            "redis": self._restart,
            "postgres": self._restart,
            "kafka": self._restart,
            "readonly": self._readonly,
            "still": self._still,
            "cut": self._cut,
            "slow": self._slow,
            "errors": self._worsen,
            "hangs": self._worsen,
            "limits": self._worsen,
            "silence": self._silence,
        }

    async def carry_out(self, faults: Sequence[Fault]) -> None:
        """One after the other, with the pauses that are planned. Where some took longer than planned, those
        are left out that would come after the last one, which comes at its time; or shortly before Kafka's
        restart, for which workers that start just then leave no CPU.
        """
        start, late_s = time.monotonic(), 0.0
        supervising = asyncio.create_task(self._supervise())
        last = faults[-1]
        until_s = last.at_s - (_BEFORE_KAFKA_S if last.kind == "kafka" else 0.0)
        try:
            for fault in faults:
                due_s = fault.at_s if fault is last else fault.at_s + late_s
                if fault is not last and due_s > until_s:
                    continue
                await asyncio.sleep(max(0.0, start + due_s - time.monotonic()))
                await self._try(fault, time.monotonic() - start)
                late_s = max(late_s, time.monotonic() - start - fault.at_s - fault.still_s)
        finally:
            supervising.cancel()
            with suppress(asyncio.CancelledError):
                await supervising

    async def _supervise(self) -> None:
        """Start again what has ended by itself, since it found a server away."""
        dead_since: dict[int, float] = {}
        while True:
            for number, worker in enumerate(self._arena.workers):
                if worker in self._held or worker.is_alive():
                    dead_since.pop(number, None)
                elif time.monotonic() - dead_since.setdefault(number, time.monotonic()) > _REVIVE_AFTER_S:
                    worker.start(wait=False)
            await asyncio.sleep(_LOOK_EVERY_S)

    @contextmanager
    def _holding(self, *workers: WorkerProcess) -> Iterator[None]:
        """They end and are started here, and by nobody else."""
        self._held += workers
        try:
            yield
        finally:
            for worker in workers:
                self._held.remove(worker)

    async def _try(self, fault: Fault, at_s: float) -> None:
        try:
            await self._strike(fault, at_s)
        except Exception as error:  # noqa: BLE001 - the others are carried out all the same
            self.errors.append(f"{fault.kind}: {type(error).__name__}: {error}")
            self._say(f"          {self.errors[-1]}")

    async def _strike(self, fault: Fault, at_s: float) -> None:
        struck: list[int] = []
        kind, began_s = _named(fault), time.time()
        self._say(f"{at_s:6.1f} s  {kind} {self._whom(fault)}".rstrip())
        try:
            await self._acts[fault.kind](fault, struck)
        finally:
            self.harms.append(Harm(kind, began_s, time.time(), tuple(struck)))
            if struck:
                self._say(f"          struck {', '.join(map(str, struck))}")

    def _whom(self, fault: Fault) -> str:
        if fault.kind == "kill_at":
            return f"{fault.point} ({fault.passes})"
        return self._worker(fault).name if fault.kind in _OF_WORKERS | _OF_GROUPS else ""

    def _worker(self, fault: Fault) -> WorkerProcess:
        return self._arena.workers[fault.worker]

    # workers

    async def _kill(self, fault: Fault, struck: list[int]) -> None:
        await self._kill_and_start([self._worker(fault)], struck)

    async def _kill_all(self, fault: Fault, struck: list[int]) -> None:
        await self._kill_and_start(self._arena.workers, struck)

    async def _kill_and_start(self, workers: Sequence[WorkerProcess], struck: list[int]) -> None:
        with self._holding(*workers):
            await self._kill_each(workers, struck)
            for worker in workers:
                worker.start(wait=False)

    async def _kill_each(self, workers: Sequence[WorkerProcess], struck: list[int]) -> None:
        struck += [worker.pid for worker in workers]
        await asyncio.gather(*(asyncio.to_thread(worker.kill) for worker in workers))

    async def _kill_at(self, fault: Fault, struck: list[int]) -> None:
        """Kill a worker, and let its successor die at the point. One that never comes there is killed too."""
        worker, mortal = self._arena.mortal(fault.point, fault.passes)

        async def dead() -> bool:
            return not mortal.is_alive()

        with self._holding(worker):
            await self._kill_each([worker], struck)
            mortal.start(wait=False)
            struck.append(mortal.pid)
            if not await within(_COMES_THERE_WITHIN_S, dead):
                self._say(f"          {fault.point} was not passed {fault.passes} times; killed")
            await asyncio.to_thread(mortal.close)
            worker.start(wait=False)

    async def _pause(self, fault: Fault, struck: list[int]) -> None:
        worker = self._worker(fault)
        struck.append(worker.pid)
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(fault.still_s)
        worker.send(signal.SIGCONT)

    async def _renew(self, fault: Fault, struck: list[int]) -> None:
        await self._end_and_start(self._worker(fault), struck)

    async def _end_and_start(self, worker: WorkerProcess, struck: list[int]) -> None:
        struck.append(worker.pid)
        with self._holding(worker):
            try:
                await asyncio.to_thread(worker.terminate, _ENDS_WITHIN_S)
            finally:
                worker.start(wait=False)

    async def _roll(self, fault: Fault, struck: list[int]) -> None:
        for worker in self._arena.members(fault.worker // WORKERS_A_GROUP):
            await self._end_and_start(worker, struck)
            await asyncio.to_thread(worker.wait_until_ready)

    async def _join(self, fault: Fault, struck: list[int]) -> None:
        further = self._arena.further(fault.worker // WORKERS_A_GROUP)
        further.start(wait=False)
        struck.append(further.pid)
        await asyncio.sleep(fault.still_s)
        await asyncio.to_thread(further.close)

    async def _rewind(self, fault: Fault, struck: list[int]) -> None:
        group = fault.worker // WORKERS_A_GROUP
        workers = self._arena.readers(group)
        kafka = self._arena.stack.settings.kafka
        with self._holding(*workers):
            await self._kill_each(workers, struck)
            try:
                await asyncio.gather(*(mischief.rewind(kafka, name) for name in consumer_groups(group)))
            finally:
                for worker in workers:
                    worker.start(wait=False)

    # servers

    async def _echo(self, fault: Fault, struck: list[int]) -> None:
        await mischief.echo(self._arena.stack.settings.kafka, fault.topic)

    async def _widen(self, fault: Fault, struck: list[int]) -> None:
        await mischief.widen(self._arena.stack.settings.kafka, fault.topic)

    async def _flush(self, fault: Fault, struck: list[int]) -> None:
        await asyncio.to_thread(self._arena.redis.flush)

    async def _full(self, fault: Fault, struck: list[int]) -> None:
        await mischief.fill(self._arena.redis.url, on=True)
        await asyncio.sleep(fault.still_s)
        await mischief.fill(self._arena.redis.url, on=False)

    async def _readonly(self, fault: Fault, struck: list[int]) -> None:
        await mischief.refuse_writes(self._arena.postgres.url, on=True)
        await asyncio.sleep(fault.still_s)
        await mischief.refuse_writes(self._arena.postgres.url, on=False)

    async def _restart(self, fault: Fault, struck: list[int]) -> None:
        server: Server = getattr(self._arena, fault.kind)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(fault.still_s)
        await asyncio.to_thread(server.start)

    async def _still(self, fault: Fault, struck: list[int]) -> None:
        server: Server = getattr(self._arena, fault.part)
        await asyncio.to_thread(server.pause)
        await asyncio.sleep(fault.still_s)
        await asyncio.to_thread(server.resume)

    async def _cut(self, fault: Fault, struck: list[int]) -> None:
        over = time.monotonic() + fault.still_s
        while time.monotonic() < over:
            await asyncio.to_thread(self._arena.proxies[fault.part].cut)
            await asyncio.sleep(_CUT_EVERY_S)

    async def _slow(self, fault: Fault, struck: list[int]) -> None:
        proxy = self._arena.proxies[fault.part]
        proxy.delay_s = _SLOW_S
        await asyncio.sleep(fault.still_s)
        proxy.delay_s = 0.0

    # the provider

    async def _silence(self, fault: Fault, struck: list[int]) -> None:
        provider_ = self._arena.provider
        provider_.send(signal.SIGSTOP)
        await asyncio.sleep(fault.still_s)
        provider_.send(signal.SIGCONT)

    async def _worsen(self, fault: Fault, struck: list[int]) -> None:
        await asyncio.to_thread(self._arena.provider.behave, provider.WORSE[fault.kind])
        await asyncio.sleep(fault.still_s)
        await asyncio.to_thread(self._arena.provider.behave, provider.ORDINARY)


def _named(fault: Fault) -> str:
    if fault.kind in _OF_PARTS:
        return f"{fault.kind} {fault.part}"
    if fault.kind in _OF_TOPICS:
        return f"{fault.kind} {fault.topic}"
    return fault.kind
