"""Which errors of the drivers mean that the database cannot serve now: wait and try again.

The rule: what lies with the server, its disk, its operator's grants or its tables is waited for, since no
job can have caused it and somebody mends it. What lies with the values of one statement is not.
"""

import sqlite3
from socket import gaierror

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from broker.errors import DatabaseDamaged, DatabaseUnavailable

_SQLSTATE_CLASSES = {
    "08": "connection failed",
    "53": "out of resources",
    "55": "something of it is in use or not ready",
    "57": "interrupted or shutting down",
    "58": "system error",
    "F0": "its configuration is broken",
}
_SQLSTATES = {
    "0A000": "its tables were changed",
    "25006": "read-only",
    "25P03": "transaction idle for too long",
    "25P04": "transaction took too long",
    "26000": "a prepared statement is gone, as behind a pooler of transactions",
    "3F000": "its schema is gone",
    "40001": "serialization failure",
    "40003": "whether the statement was completed is not known",
    "40P01": "deadlock",
    "42501": "its user lacks a right, GRANT it",
    "42703": "a column is not there, as after another version's migration",
    "42883": "a function is not there, as in a version that is too old",
    "42P01": "a table is not there, as before a migration",
    "53100": "its disk is full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57P03": "starting up or in recovery",
}
"""PostgreSQL's error codes, appendix A of its manual. Statements are fixed texts, so that none of these is a
job's doing; another error of the class 42 is a fault of ours. 0A000 is what a statement prepared before a
migration gets after it.
"""
_SQLSTATES_OF_DAMAGE = {
    "XX000": "it met an error of its own, its log says which",
    "XX001": "its data are damaged",
    "XX002": "an index is damaged",
}
"""XX000 stands for whatever the server did not expect: a torn catalog, say, or a fault of its own. Jobs that
went on in spite of it would become dead letters one after the other.
"""

_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CANTOPEN: "cannot open the file",
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_IOERR: "input or output error",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "its file may not be used",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_PROTOCOL: "locked",
}
_SQLITE_CODES_OF_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is no database",
}


def translate(error: BaseException, *, is_disconnect: bool = False) -> DatabaseUnavailable | None:
    """The error to raise in place of a driver's, or None where it is none of those that time mends.

    The text never holds the statement or its parameters.
    """
    if not isinstance(error, Exception):
        return None
    if (damage := _damage(error)) is not None:
        return DatabaseDamaged(f"the database does not serve: {damage}")
    cause = _by_sqlstate(error) or _by_sqlite_code(error) or _by_type(error)
    if cause is None and is_disconnect:
        cause = "connection lost"
    return None if cause is None else DatabaseUnavailable(f"the database is away: {cause}")


def _damage(error: Exception) -> str | None:
    code = _sqlite_code(error)
    return _SQLSTATES_OF_DAMAGE.get(_sqlstate(error)) or _SQLITE_CODES_OF_DAMAGE.get(code)


def _by_sqlstate(error: Exception) -> str | None:
    sqlstate = _sqlstate(error)
    return _SQLSTATES.get(sqlstate) or _SQLSTATE_CLASSES.get(sqlstate[:2])


def _by_sqlite_code(error: Exception) -> str | None:
    return _SQLITE_CODES.get(_sqlite_code(error))


def _sqlstate(error: Exception) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate if isinstance(sqlstate, str) else ""


def _sqlite_code(error: Exception) -> int:
    """The primary one; 0, which is no error, where it is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


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
