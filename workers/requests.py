"""What is asked of the gate for an attempt."""

import hashlib

from broker.identity.directory import Directory
from broker.quota.gate import ReserveRequest
from broker.settings import ReserveSettings
from schemas.state import State
from schemas.topics import Lane


class Requests:
    def __init__(self, settings: ReserveSettings, directory: Directory) -> None:
        self._jobs_in_flight_max = settings.jobs_in_flight_max
        self._hold_ttl_ms = settings.hold_ttl_s * 1000
        self._directory = directory

    def of(self, state: State) -> ReserveRequest:
        """Raises ValueError where the job has no estimate, which ADMIT does not let happen."""
        estimate = state.estimate
        if estimate is None:
            raise ValueError("an admitted job has an estimate")
        return ReserveRequest(
            hold_id=hold_id(state),
            budget=self._directory.budget(state.key_id),
            nanodollars=estimate.nanodollars,
            input_tokens=estimate.input_tokens,
            output_tokens=estimate.output_tokens,
            ttl_ms=self._hold_ttl_ms,
            jobs_in_flight_max=None if state.lane is Lane.INTERACTIVE else self._jobs_in_flight_max,
        )


def hold_id(state: State) -> str:
    """One hold an attempt: 32 hexadecimal digits that follow from the attempt's key."""
    name = f"{state.application_id}/{state.job_id}/{state.run}/{state.attempt}"
    return hashlib.sha256(name.encode()).hexdigest()[:32]
