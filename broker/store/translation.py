"""Which errors of the drivers mean that the database is away, and nothing worse: wait and try again."""

import sqlite3
from socket import gaierror

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
    "25P03": "transaction idle for too long",
    "25P04": "transaction took too long",
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


def translate(error: BaseException, *, is_disconnect: bool = False) -> DatabaseUnavailable | None:
    """The error to raise in place of a driver's, or None where it is none of those that time mends.

    The text never holds the statement or its parameters.
    """
    if not isinstance(error, Exception):
        return None
    cause = _by_sqlstate(error) or _by_sqlite_code(error) or _by_type(error)
    if cause is None and is_disconnect:
        cause = "connection lost"
    return None if cause is None else DatabaseUnavailable(f"the database is away: {cause}")


def _by_sqlstate(error: Exception) -> str | None:
    sqlstate = getattr(error, "sqlstate", None)
    if not isinstance(sqlstate, str):
        return None
    return _SQLSTATES.get(sqlstate) or _SQLSTATE_CLASSES.get(sqlstate[:2])


def _by_sqlite_code(error: Exception) -> str | None:
    code = getattr(error, "sqlite_errorcode", None)
    return _SQLITE_CODES.get(code & 0xFF) if isinstance(code, int) else None


def _by_type(error: Exception) -> str | None:
    if isinstance(error, PoolTimeoutError):
        return "every connection of the pool is in use"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, gaierror):
        return "its host has no address that can be found"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at its host and port"
    return "cannot connect" if isinstance(error, OSError) else None
