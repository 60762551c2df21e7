"""PostgreSQL by asyncpg, or SQLite by aiosqlite: one seam for connections and their failures."""

import inspect
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

import asyncpg
import orjson
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from broker.errors import DatabaseUnavailable, SettingsInvalid
from broker.settings import DatabaseSettings
from broker.store.driver import DriverConnection, DriverPool
from broker.store.translation import translate

Dialect = Literal["postgresql", "sqlite"]
Line = AsyncConnection | DriverConnection
"""What the ledger's statements run on."""
C = TypeVar("C")

_CONNECT_TIMEOUT_S = 10.0
_KEPT_MAX = 2
"""Of the pool's connections, at hand for what each job needs: mostly one stage writes, and another."""
_OTHERS_MIN = 2
"""Never kept: a rebuild of the counters takes two at once, without which nothing goes on."""

_BY_KEY = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "enable_sort": "off",
    "jit": "off",
}
"""The ledger's statements go by key. PostgreSQL keeps the plans that it made while a table was small, and
without these settings reads the whole table when it has grown: at 200,000 rows, 50 to 160 ms instead of 3.
"""
_DRIVERS = {"postgresql+asyncpg": "postgresql", "sqlite+aiosqlite": "sqlite"}
_REFUSALS = {
    "28000": "this user may not connect from here",
    "28P01": "the user or the password is wrong",
    "3D000": "there is no such database: make it with `createdb`, or mend the name",
    "42501": "this user may not connect to this database: GRANT CONNECT ON DATABASE",
}
"""What PostgreSQL says to a stranger at the door: appendix A of its manual."""
_PARAMETERS_OF_SQLALCHEMY = frozenset({"prepared_statement_cache_size"})
_SQLITE_MAGIC = b"SQLite format 3\0"
"""https://sqlite.org/fileformat.html, section 1.3.1"""


class Database:
    """Connections to one database.

    Failures that time or an operator mends (refused, lost, timed out, deadlock, disk full, a right revoked:
    `broker.store.translation`) leave as `DatabaseUnavailable`; the driver's other errors pass as they are. A
    lost connection fails its statement once and is then replaced: callers retry, there is no ping before use.
    A user or a name that PostgreSQL does not take is wrong in the settings when the database is opened; later
    it is the server that changed, and work waits.

    SQLite has one connection in a process: a task that holds one and asks for another waits for itself.
    """

    def __init__(self, engine: AsyncEngine, dialect: Dialect, kept_max: int = 0) -> None:
        self.dialect = dialect
        self.engine = engine
        """For schema work only (`broker.store.migrate`)."""
        self._driver = DriverPool(engine, kept_max, _away)
        self._single = (
            engine if dialect == "sqlite" else engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @classmethod
    async def open(cls, settings: DatabaseSettings) -> Self:
        """Connect once, to see that it is there.

        Raises SettingsInvalid for a URL that cannot serve, without showing it; DatabaseUnavailable.
        """
        url = parse_url(settings.url.get_secret_value())
        dialect = cast(Dialect, _DRIVERS[url.drivername])
        if dialect == "sqlite":
            _check_file(url.database)
        options = _postgresql_options(settings) if dialect == "postgresql" else _sqlite_options(settings)
        engine = create_async_engine(
            url, json_deserializer=orjson.loads, json_serializer=_json, hide_parameters=True, **options
        )
        event.listen(engine.sync_engine, "handle_error", _translate_failure)
        if dialect == "sqlite":
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        database = cls(engine, dialect, max(0, min(_KEPT_MAX, settings.pool_size - _OTHERS_MIN)))
        try:
            async with database.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except _Refused as refused:
            await database.close()
            raise SettingsInvalid(f"database.url: {refused.why}") from refused
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        await self._driver.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when the block raises."""
        async with _connected(self.engine.connect()) as connection, connection.begin():
            if self.dialect == "sqlite":
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @asynccontextmanager
    async def snapshot(self, within: AsyncConnection) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees the database as it is now. On SQLite that is `within`, one of `begin`."""
        if self.dialect == "sqlite":
            yield within
            return
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with _connected(engine.connect()) as connection, connection.begin():
            yield connection

    def ledger(self) -> AbstractAsyncContextManager[Line]:
        """For the statements that each job needs: as `connect`, at a fraction of its cost on PostgreSQL."""
        return self.connect() if self.dialect == "sqlite" else self._driver.lend()

    @asynccontextmanager
    async def begin_ledger(self) -> AsyncIterator[Line]:
        """As `begin`, at a fraction of its cost on PostgreSQL."""
        if self.dialect == "sqlite":
            async with self.begin() as connection:
                yield connection
            return
        async with self._driver.lend() as line, line.transaction():
            yield line

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement commits by itself: one round trip a statement."""
        async with _connected(self._single.connect()) as connection:
            yield connection


class _Refused(DatabaseUnavailable):
    def __init__(self, why: str) -> None:
        super().__init__(f"the database takes no connection: {why}")
        self.why = why


@asynccontextmanager
async def _connected(connecting: AbstractAsyncContextManager[C]) -> AsyncIterator[C]:
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(connecting)
        except Exception as error:
            if (away := _away(error)) is not None:
                raise away from error
            raise
        yield connection


def _away(error: Exception) -> DatabaseUnavailable | None:
    """What to raise in place of an error of connecting."""
    return _refusal(error) or translate(error)


def _refusal(error: Exception) -> _Refused | None:
    """Why PostgreSQL, or its driver, does not take who is to connect; None where it is something else."""
    original = getattr(error, "orig", None) or error
    if isinstance(original.__cause__, asyncpg.ClientConfigurationError):
        return _Refused("asyncpg does not take a parameter of it")
    why = _REFUSALS.get(getattr(original, "sqlstate", None) or "")
    return None if why is None else _Refused(f"PostgreSQL refuses it: {why}")


def _translate_failure(context: ExceptionContext) -> BaseException | None:
    """What a statement raises is translated where it is raised: the block around it may do other things."""
    error = context.original_exception
    if context.connection is None and isinstance(error, Exception) and (refused := _refusal(error)):
        return refused
    return translate(error, is_disconnect=context.is_disconnect)


def parse_url(url: str) -> URL:
    """Raises SettingsInvalid for anything but the two kinds of URL that are served; never shows the URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsInvalid("database.url is not a URL") from None
    except ValueError:
        raise SettingsInvalid("database.url: its port is not a number") from None
    if parsed.drivername not in _DRIVERS:
        kinds = " or ".join(f"{driver}://" for driver in _DRIVERS)
        raise SettingsInvalid(f"database.url must begin with {kinds}")
    if parsed.port is not None and parsed.port not in range(1, 65_536):
        raise SettingsInvalid("database.url: its port must lie between 1 and 65535")
    if _DRIVERS[parsed.drivername] == "postgresql":
        _check_parameters(parsed)
    return parsed


def _check_parameters(url: URL) -> None:
    known = inspect.signature(asyncpg.connect).parameters.keys() | _PARAMETERS_OF_SQLALCHEMY
    if not url.query.keys() <= known:
        raise SettingsInvalid(
            "database.url: asyncpg does not know a parameter of it; for TLS it is ssl=require"
        )


def _check_file(name: str | None) -> None:
    """SQLite's own complaint would come from a thread of its driver, which outlives the event loop."""
    if not name or name == ":memory:" or name.startswith("file:"):
        return
    path = Path(name)
    try:
        with path.open("a+b") as file:
            file.seek(0)
            head = file.read(len(_SQLITE_MAGIC))
    except FileNotFoundError:
        raise SettingsInvalid("database.url: the folder of its SQLite file is not there") from None
    except OSError as error:
        why = f"its SQLite file cannot be opened for writing: {error.strerror}"
        raise SettingsInvalid(f"database.url: {why}") from None
    if head not in {b"", _SQLITE_MAGIC}:
        raise SettingsInvalid("database.url: the file that it names is no SQLite database")
    if not os.access(path.parent, os.W_OK):
        raise SettingsInvalid("database.url: SQLite needs to write in the folder of its file, and may not")


def _postgresql_options(settings: DatabaseSettings) -> dict[str, Any]:
    timeout_s = settings.statement_timeout_ms / 1000
    return {
        "poolclass": AsyncAdaptedQueuePool,
        "pool_size": settings.pool_size,
        "max_overflow": 0,
        "pool_timeout": timeout_s,
        "connect_args": {
            "timeout": min(timeout_s, _CONNECT_TIMEOUT_S),
            # Later than the server's own, so that it ends only statements that no server answers any more.
            "command_timeout": timeout_s * 1.5,
            "server_settings": {
                "application_name": "headworks",
                "default_transaction_isolation": "read committed",
                "statement_timeout": str(settings.statement_timeout_ms),
                "idle_in_transaction_session_timeout": str(settings.statement_timeout_ms),
                **_BY_KEY,
            },
        },
    }


def _sqlite_options(settings: DatabaseSettings) -> dict[str, Any]:
    timeout_s = settings.statement_timeout_ms / 1000
    return {
        "poolclass": AsyncAdaptedQueuePool,
        "pool_size": 1,
        "max_overflow": 0,
        "pool_timeout": timeout_s,
        "connect_args": {"timeout": timeout_s},
    }


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin late and for writes alone; ours begin where `begin` says so.
    connection.isolation_level = None
    # NORMAL: a power cut may take the last commits; the embedded Kafka keeps nothing beyond its process.
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
