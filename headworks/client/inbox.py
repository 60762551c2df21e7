"""The jobs that this client has open: from before their publish until their result is handed over.

Nothing is kept of a job that is not open, so memory is bounded by `open_max` however many jobs go through.
"""

import asyncio
from uuid import UUID

from headworks.client.errors import JobInvalid, NotOpen, TooManyOpen
from headworks.client.results import Result


class Slot:
    """Where one job's result arrives. `submits` counts the submits that rely on it; `value` is the hash of
    what they submitted, None where that is not known.
    """

    __slots__ = ("arrival", "submits", "value")

    def __init__(self, arrival: "asyncio.Future[Result]", value: int | None) -> None:
        self.arrival = arrival
        self.submits = 1
        self.value = value


class Inbox:
    def __init__(self, open_max: int) -> None:
        self._open_max = open_max
        self._slots: dict[UUID, Slot] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, job_id: UUID) -> bool:
        return job_id in self._slots

    def open(self, job_id: UUID, value: bytes = b"") -> Slot:
        """Before the publish, since the reply may be here before the acknowledgement.

        A job that is open already shares its slot. Raises TooManyOpen; JobInvalid where another value is open
        under the id: their replies could not be told apart. An empty `value` goes with any.
        """
        slot, hashed = self._slots.get(job_id), hash(value) if value else None
        if slot is not None:
            slot.value = _agreed(job_id, slot.value, hashed)
            slot.submits += 1
            return slot
        if len(self._slots) >= self._open_max:
            raise TooManyOpen(
                f"{self._open_max} jobs are open: take results (result, as_completed) before submitting "
                "more, or submit with reply=False"
            )
        slot = self._slots[job_id] = Slot(asyncio.get_running_loop().create_future(), hashed)
        return slot

    def withdraw(self, job_id: UUID, slot: Slot) -> None:
        """A submit failed; the job stays open while another relies on it."""
        slot.submits -= 1
        if slot.submits == 0 and self._slots.get(job_id) is slot:
            del self._slots[job_id]

    def slot(self, job_id: UUID) -> Slot:
        """Raises NotOpen."""
        slot = self._slots.get(job_id)
        if slot is None:
            raise NotOpen(job_id)
        return slot

    def arrive(self, result: Result) -> bool:
        """Whether it was the first result of an open job."""
        slot = self._slots.get(result.job_id)
        if slot is None or slot.arrival.done():
            return False
        slot.arrival.set_result(result)
        return True

    def hand_over(self, job_id: UUID, slot: Slot) -> bool:
        """Close the job; whether this was the first to take its result."""
        if self._slots.get(job_id) is not slot:
            return False
        del self._slots[job_id]
        return True

    def close(self) -> None:
        """Whoever waits is woken; the futures are cancelled, not failed, so that none complains unawaited."""
        for slot in self._slots.values():
            slot.arrival.cancel()
        self._slots.clear()


def _agreed(job_id: UUID, known: int | None, given: int | None) -> int | None:
    if known is not None and given is not None and known != given:
        raise JobInvalid(f"another request is open under job id {job_id}: give this one an id of its own")
    return given if known is None else known
