"""The rows of a statement that were found right, kept on disk until all of them were: a file may be long, may
change, and may be a pipe that is read once.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Final, NamedTuple, Self
from uuid import UUID

from broker.statements.entries import Entry
from broker.store.keys import AttemptKey
from schemas.state import Usage

_TABLE: Final = """
    CREATE TABLE entries (
        line INTEGER PRIMARY KEY,
        application_id INTEGER, job_id BLOB, run INTEGER, attempt INTEGER,
        usage TEXT, nanodollars INTEGER,
        UNIQUE (application_id, job_id, run, attempt)
    )
"""


class Kept(NamedTuple):
    """An entry, and the charge that it is about."""

    key: AttemptKey
    entry: Entry


class Spool:
    """A temporary database of SQLite, which is gone when it is left; most of it is not in memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(_TABLE)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def keep(self, key: AttemptKey, entry: Entry) -> int | None:
        """The line that was kept of the same charge, if so; then this one is not."""
        place = (key.application_id, key.job_id.bytes, key.run, key.attempt)
        usage = None if entry.usage is None else entry.usage.model_dump_json()
        row = (entry.line, *place, usage, entry.nanodollars)
        kept = self._database.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if kept.rowcount:
            return None
        found = self._database.execute(
            "SELECT line FROM entries WHERE application_id = ? AND job_id = ? AND run = ? AND attempt = ?",
            place,
        )
        return int(found.fetchone()[0])

    def batches(self, size: int) -> Iterator[list[Kept]]:
        """In the order of their lines."""
        with closing(self._database.cursor()) as rows:
            rows.execute("SELECT * FROM entries ORDER BY line")
            while some := rows.fetchmany(size):
                yield [_kept(*row) for row in some]


def _kept(
    line: int,
    application_id: int,
    job_id: bytes,
    run: int,
    attempt: int,
    usage: str | None,
    nanodollars: int | None,
) -> Kept:
    key = AttemptKey(application_id, UUID(bytes=job_id), run, attempt)
    told = None if usage is None else Usage.model_validate_json(usage)
    return Kept(key, Entry(line, None, key.job_id, run, attempt, told, nanodollars))
