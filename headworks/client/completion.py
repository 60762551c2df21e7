"""Taking the results of several open jobs as they come."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from uuid import UUID

from headworks.client.errors import ResultTimeout
from headworks.client.inbox import Slot
from headworks.client.mailbox import Mailbox
from headworks.client.results import Result


async def in_order_of_arrival(
    mailbox: Mailbox, waiting: dict[UUID, Slot], timeout_s: float | None
) -> AsyncGenerator[Result, None]:
    """Raises ResultTimeout where they are not all here within `timeout_s` of the first step."""
    arrived: asyncio.Queue[UUID] = asyncio.Queue()
    calls = {job_id: _putting(arrived, job_id) for job_id in waiting}
    for job_id, slot in waiting.items():
        slot.arrival.add_done_callback(calls[job_id])
    deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    try:
        while waiting:
            try:
                async with asyncio.timeout_at(deadline):
                    job_id = await arrived.get()
            except TimeoutError:
                raise ResultTimeout(next(iter(waiting)), timeout_s or 0) from None
            yield mailbox.handed_over(job_id, waiting.pop(job_id))
    finally:
        for job_id, slot in waiting.items():
            slot.arrival.remove_done_callback(calls[job_id])


def _putting(queue: "asyncio.Queue[UUID]", job_id: UUID) -> Callable[[object], None]:
    return lambda _: queue.put_nowait(job_id)
