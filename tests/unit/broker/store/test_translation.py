"""Which errors mean that the database is away."""

import sqlite3

import asyncpg
import pytest
from asyncpg import exceptions
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from broker.errors import DatabaseDamaged
from broker.store.translation import translate

AWAY: list[type[asyncpg.PostgresError]] = [
    exceptions.AdminShutdownError,
    exceptions.CannotConnectNowError,
    exceptions.ConnectionDoesNotExistError,
    exceptions.ConnectionFailureError,
    exceptions.CrashShutdownError,
    exceptions.ConfigFileError,
    exceptions.DeadlockDetectedError,
    exceptions.DiskFullError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.InsufficientPrivilegeError,
    exceptions.InsufficientResourcesError,
    exceptions.InvalidCachedStatementError,
    exceptions.InvalidSchemaNameError,
    exceptions.InvalidSQLStatementNameError,
    exceptions.LockNotAvailableError,
    exceptions.ObjectInUseError,
    exceptions.OutOfMemoryError,
    exceptions.QueryCanceledError,
    exceptions.ReadOnlySQLTransactionError,
    exceptions.SerializationError,
    exceptions.StatementCompletionUnknownError,
    exceptions.TooManyConnectionsError,
    exceptions.UndefinedColumnError,
    exceptions.UndefinedFunctionError,
    exceptions.UndefinedTableError,
]
DAMAGED: list[type[asyncpg.PostgresError]] = [
    exceptions.DataCorruptedError,
    exceptions.IndexCorruptedError,
    exceptions.InternalServerError,
]
WRONG: list[type[asyncpg.PostgresError]] = [
    exceptions.CheckViolationError,
    exceptions.DataError,
    exceptions.DatatypeMismatchError,
    exceptions.InvalidCatalogNameError,
    exceptions.InvalidPasswordError,
    exceptions.NotNullViolationError,
    exceptions.NumericValueOutOfRangeError,
    exceptions.PostgresSyntaxError,
    exceptions.StringDataRightTruncationError,
    exceptions.UniqueViolationError,
]


@pytest.mark.parametrize("kind", AWAY)
def test_what_time_mends_at_postgresql(kind: type[asyncpg.PostgresError]) -> None:
    away = translate(kind("of the server"))
    assert away is not None
    assert not away.is_alarming
    assert "of the server" not in str(away)


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_an_operator_mends_at_postgresql(kind: type[asyncpg.PostgresError]) -> None:
    damaged = translate(kind("of the server"))
    assert isinstance(damaged, DatabaseDamaged)
    assert damaged.is_alarming
    assert "of the server" not in str(damaged)


@pytest.mark.parametrize("kind", WRONG)
def test_what_time_does_not_mend_at_postgresql(kind: type[asyncpg.PostgresError]) -> None:
    assert translate(kind("of the server")) is None


@pytest.mark.parametrize(
    ("code", "is_away"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, True),
        (sqlite3.SQLITE_IOERR_WRITE, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_CANTOPEN, True),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOMEM, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_PERM, True),
        (sqlite3.SQLITE_READONLY_DBMOVED, True),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, False),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_MISMATCH, False),
        (sqlite3.SQLITE_TOOBIG, False),
    ],
)
def test_what_time_mends_at_sqlite(code: int, *, is_away: bool) -> None:
    error = sqlite3.OperationalError("of the file")
    error.sqlite_errorcode = code
    assert (translate(error) is not None) == is_away


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionRefusedError(),
        ConnectionResetError(),
        OSError("no route to host"),
        PoolTimeoutError("QueuePool limit"),
    ],
)
def test_what_never_reached_the_database(error: Exception) -> None:
    assert translate(error) is not None


def test_a_connection_that_was_lost_whatever_the_driver_says() -> None:
    assert translate(asyncpg.InterfaceError("connection is closed"), is_disconnect=True) is not None
    assert translate(asyncpg.InterfaceError("of another kind")) is None


def test_who_is_cancelled_is_no_failure() -> None:
    assert translate(KeyboardInterrupt(), is_disconnect=True) is None
