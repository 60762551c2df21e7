"""Which errors of the drivers mean that the database is away, and nothing worse: wait and try again."""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from broker.errors import DatabaseUnavailable

_SQLSTATE_CLASSES = {
    "08": "connection failed",
    "53": "out of resources",
    "57": "interrupted or shutting down",
    "58": "system error",
}
_SQLSTATES = {
    "25006": "read-only",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock not available",
}
"""PostgreSQL's error codes, appendix A of its manual."""

_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CANTOPEN: "cannot open the file",
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_IOERR: "input or output error",
}


def translate(error: BaseException) -> DatabaseUnavailable | None:
    """The error to raise in place of a driver's, or None where it is none of those that time mends.

    The text never holds the statement or its parameters.
    """
    cause = _cause(error)
    return None if cause is None else DatabaseUnavailable(f"the database is away: {cause}")


def _cause(error: BaseException) -> str | None:
    if isinstance(error, PoolTimeoutError):
        return "every connection of the pool is in use"
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return "connection lost"
        return _cause_by_code(error.orig)
    return _cause_by_code(error)


def _cause_by_code(error: BaseException | None) -> str | None:
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        return _SQLSTATES.get(sqlstate) or _SQLSTATE_CLASSES.get(sqlstate[:2])
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE_CODES.get(code & 0xFF)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "cannot connect" if isinstance(error, OSError) else None
