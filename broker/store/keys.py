"""What names a job's run, and one attempt of it, in the ledger."""

from typing import NamedTuple
from uuid import UUID

JOB_COLUMNS = ("application_id", "job_id")
RUN_COLUMNS = ("application_id", "job_id", "run")
ATTEMPT_COLUMNS = ("application_id", "job_id", "run", "attempt")


class JobKey(NamedTuple):
    application_id: int
    job_id: UUID


class RunKey(NamedTuple):
    application_id: int
    job_id: UUID
    run: int

    @property
    def job(self) -> JobKey:
        return JobKey(self.application_id, self.job_id)


class AttemptKey(NamedTuple):
    application_id: int
    job_id: UUID
    run: int
    attempt: int
