"""A price book on the record of operations: who imported it, and since when workers go by it.

A book is a file, which may also be copied, deployed in an image or edited by hand. So both have an entry: an
import, which knows who did it, and the first worker that starts with another version than the last.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from broker.ops.changes import act, record_change
from broker.pricing import book_file
from broker.store.database import Database
from broker.store.operations import last_on

_SUBJECT: Final = "prices"
_USE: Final = "price_book.use"


async def replace(
    database: Database, path: Path, contents: Mapping[str, Any], replaced: str | None
) -> Path | None:
    """Write a book, and its entry with it: neither is there without the other.

    `replaced`: the version that stands there. Returns as `book_file.write`. Raises PriceBookInvalid,
    DatabaseUnavailable.
    """
    before = {} if replaced is None else {"version": replaced, "file": str(path)}
    after = {"version": contents["version"], "file": str(path)}
    async with act(database) as connection:
        await record_change(connection, "price_book.import", _SUBJECT, before, after)
        return book_file.write(path, contents)


async def begin_use(database: Database, version: str) -> None:
    """For a worker that starts. Raises DatabaseUnavailable."""
    async with act(database) as connection:
        last = await last_on(connection, _USE, _SUBJECT)
        await record_change(
            connection, _USE, _SUBJECT, {} if last is None else last.after, {"version": version}
        )
