"""Carries a plan of faults out, one after the other, and keeps a record of what was done to whom."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.crucible import provider
from tests.crucible.arena import Arena
from tests.crucible.history import Harm
from tests.crucible.patience import within
from tests.crucible.plan import Fault
from tests.services import Server
from tests.services.proxy import Proxy
from tests.stack import WorkerProcess

_COMES_THERE_WITHIN_S = 10.0
_ENDS_WITHIN_S = 40.0
"""A worker that was told to stop; then it is killed, and that is an error of the run."""
_CUT_EVERY_S = 0.3
_OF_PARTS = frozenset({"still", "cut"})


class Nemesis:
    def __init__(self, arena: Arena, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._say = say
        self.harms: list[Harm] = []
        self.errors: list[str] = []
        """What could not be carried out as it was meant."""

    async def carry_out(self, faults: Sequence[Fault]) -> None:
        start = time.monotonic()
        for fault in faults:
            await asyncio.sleep(max(0.0, start + fault.at_s - time.monotonic()))
            try:
                self._arena.revive()
                await self._strike(fault, time.monotonic() - start)
            except Exception as error:  # noqa: BLE001 - the others are carried out all the same
                self.errors.append(f"{fault.kind}: {type(error).__name__}: {error}")
                self._say(f"          {self.errors[-1]}")

    async def _strike(self, fault: Fault, at_s: float) -> None:
        if fault.kind == "kill_at":
            await self._kill_at(fault, at_s)
            return
        worker = self._arena.workers[fault.worker]
        act, struck = self._act(fault, worker)
        pids = (worker.pid,) if struck is worker else ()
        shown = f"{worker.name} {pids}" if pids else ""
        kind = f"{fault.kind} {fault.part}" if fault.kind in _OF_PARTS else fault.kind
        self._say(f"{at_s:6.1f} s  {kind} {shown}".rstrip())
        began_s = time.time()
        try:
            await act
        finally:
            self.harms.append(Harm(kind, began_s, time.time(), pids))

    def _act(self, fault: Fault, worker: WorkerProcess) -> tuple[Awaitable[None], WorkerProcess | None]:
        """What is to be done, and the worker that it strikes."""
        match fault.kind:
            case "kill":
                return self._kill(worker), worker
            case "pause":
                return self._pause(worker, fault.still_s), worker
            case "renew":
                return self._renew(worker), worker
            case "kill_at":
                raise AssertionError("it strikes a worker that it brings itself")
            case "silence":
                return self._silence(fault.still_s), None
            case "errors" | "hangs" | "limits":
                return self._worsen(fault.kind, fault.still_s), None
            case _:
                return self._on_server(fault), None

    def _on_server(self, fault: Fault) -> Awaitable[None]:
        arena = self._arena
        match fault.kind:
            case "flush":
                return asyncio.to_thread(arena.redis.flush)
            case "still":
                return self._still(getattr(arena, fault.part), fault.still_s)
            case "cut":
                return self._cut(arena.proxies[fault.part], fault.still_s)
            case _:
                server: Server = getattr(arena, fault.kind)
                return self._restart(server, fault.still_s)

    async def _kill(self, worker: WorkerProcess) -> None:
        await asyncio.to_thread(worker.kill)
        worker.start(wait=False)

    async def _kill_at(self, fault: Fault, at_s: float) -> None:
        """Kill a worker, and let its successor die at the point. One that never comes there is killed too."""
        worker, mortal = self._arena.mortal(fault.point, fault.passes)
        began_s, died = time.time(), worker.pid
        await asyncio.to_thread(worker.kill)
        mortal.start(wait=False)
        pid = mortal.pid
        self._say(f"{at_s:6.1f} s  kill_at {fault.point} ({fault.passes}) {worker.name} ({died}, {pid})")

        async def dead() -> bool:
            return not mortal.is_alive()

        if not await within(_COMES_THERE_WITHIN_S, dead):
            self._say(f"          {fault.point} was not passed {fault.passes} times; killed")
        await asyncio.to_thread(mortal.close)
        worker.start(wait=False)
        self.harms.append(Harm("kill_at", began_s, time.time(), (died, pid)))

    async def _pause(self, worker: WorkerProcess, still_s: float) -> None:
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(still_s)
        worker.send(signal.SIGCONT)

    async def _renew(self, worker: WorkerProcess) -> None:
        try:
            await asyncio.to_thread(worker.terminate, _ENDS_WITHIN_S)
        finally:
            worker.start(wait=False)

    async def _restart(self, server: Server, still_s: float) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(still_s)
        await asyncio.to_thread(server.start)

    async def _still(self, server: Server, still_s: float) -> None:
        await asyncio.to_thread(server.pause)
        await asyncio.sleep(still_s)
        await asyncio.to_thread(server.resume)

    async def _cut(self, proxy: Proxy, still_s: float) -> None:
        over = time.monotonic() + still_s
        while time.monotonic() < over:
            await asyncio.to_thread(proxy.cut)
            await asyncio.sleep(_CUT_EVERY_S)

    async def _silence(self, still_s: float) -> None:
        provider_ = self._arena.provider
        provider_.send(signal.SIGSTOP)
        await asyncio.sleep(still_s)
        provider_.send(signal.SIGCONT)

    async def _worsen(self, how: str, still_s: float) -> None:
        await asyncio.to_thread(self._arena.provider.behave, provider.WORSE[how])
        await asyncio.sleep(still_s)
        await asyncio.to_thread(self._arena.provider.behave, provider.ORDINARY)
