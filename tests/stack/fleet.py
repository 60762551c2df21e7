"""One worker process for each pool, and the provider that they call: what fault tests do harm to."""

import signal
from collections.abc import Mapping
from typing import Any

from tests.stack.processes import WorkerProcess
from tests.stack.stack import RealStack
from tests.stack.waiting import until
from workers.pools import POOLS, Pool


class Fleet:
    def __init__(self, stack: RealStack, extra: Mapping[str, str]) -> None:
        self.stack = stack
        self.provider = stack.simulator()
        self._extra = extra
        self._workers = {pool: stack.worker(pool, wait=False, extra=extra) for pool in POOLS}
        self.wait_until_ready()

    def worker(self, pool: Pool) -> WorkerProcess:
        return self._workers[pool]

    def more(self, pool: Pool, number: int) -> list[WorkerProcess]:
        """So many more processes of the pool, ready; the caller ends them."""
        started = [self.stack.worker(pool, wait=False, extra=self._extra) for _ in range(number)]
        for worker in started:
            worker.wait_until_ready()
        return started

    def replace(self, pool: Pool, successor: WorkerProcess) -> WorkerProcess:
        """Let `successor` be the pool's process; the former one, which is the caller's to end."""
        former, self._workers[pool] = self._workers[pool], successor
        return former

    def kill(self, *pools: Pool) -> None:
        """As a power cut would, all at the same moment."""
        for pool in pools:
            self._workers[pool].send(signal.SIGKILL)
        for pool in pools:
            self._workers[pool].kill()

    def start(self, *pools: Pool) -> None:
        """Return when all of them are ready."""
        for pool in pools:
            self._workers[pool].start(wait=False)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        for worker in self._workers.values():
            worker.wait_until_ready()

    async def calls_under_way(self, least: int) -> None:
        """Return when so many calls wait for their answers."""

        async def enough() -> bool:
            return int(self.provider.counts()["in_flight"]) >= least

        await until(enough, f"{least} calls under way")

    def restore(self, behaviour: Mapping[str, Any]) -> None:
        """Every pool has its process again, and the provider behaves so."""
        self.provider.behave(behaviour)
        self.start(*(pool for pool, worker in self._workers.items() if not worker.is_alive()))

    def close(self) -> None:
        for process in (*self._workers.values(), self.provider):
            process.close()
