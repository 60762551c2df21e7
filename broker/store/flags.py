"""What plugged-in detectors found, on record: who looked at which value, and what is where in it. No text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from broker.store.bulk import insert_rows
from broker.store.database import Database
from broker.store.tables.policy import flags


@dataclass(frozen=True, slots=True)
class FlagRow:
    """What the fields are, `broker.store.tables.policy.flags` says."""

    application_id: int
    job_id: UUID
    run: int
    phase: str
    detector: str
    version: str
    revision: str
    sha256: str
    found: Sequence[Mapping[str, Any]]
    at_ms: int


class Flags:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, row: FlagRow) -> None:
        """The first of a run, phase and detector alone: a job that is read again is looked at again.

        Raises DatabaseUnavailable.
        """
        async with self._database.begin() as connection:
            await insert_rows(connection, flags, [row])
