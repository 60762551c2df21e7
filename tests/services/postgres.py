"""A real PostgreSQL, with the settings it comes with: what is committed is on disk."""

import os
import pwd
import secrets
import shutil
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import asyncpg

from tests.services.command import run
from tests.services.container import Container
from tests.services.process import LocalProcess
from tests.services.programs import INITDB, POSTGRES
from tests.services.runner import Runner, ServerUnavailable
from tests.services.server import HOST, Server, ask

IMAGE = "postgres:17.6"
USER = "headworks"
_SERVICE_USER = "postgres"
_AUTHENTICATION = b"R"


class PostgresServer(Server):
    """`fsync=False` gives up safety for speed, where a test makes many databases and kills nothing."""

    name: ClassVar[str] = "postgres"

    def __init__(self, *, fsync: bool = True, connections_max: int = 200) -> None:
        super().__init__()
        settings = {"max_connections": str(connections_max), "fsync": "on" if fsync else "off"}
        self._options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    @property
    def url(self) -> str:
        """Of a database that is always there and always empty."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}@{HOST}:{self.port}/{database}"

    @asynccontextmanager
    async def fresh_database(self, *, template: str = "template1") -> AsyncIterator[str]:
        """The URL of a database of its own, a copy of `template`, dropped in the end whoever is connected."""
        name = f"test_{secrets.token_hex(6)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url_of(name)
        finally:
            await self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(host=HOST, port=self.port, user=USER, database=USER)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _answers(self) -> bool:
        """A starting server answers the start-up message with an error, a ready one with its wish to know us.

        https://www.postgresql.org/docs/current/protocol-message-formats.html, StartupMessage
        """
        parameters = b"\0".join([b"user", USER.encode(), b"database", USER.encode(), b"", b""])
        message = struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters
        return ask(self.port, message).startswith(_AUTHENTICATION)

    def _in_container(self) -> Runner:
        environment = {"POSTGRES_USER": USER, "POSTGRES_HOST_AUTH_METHOD": "trust"}
        command = ["postgres", *self._options]
        return Container(IMAGE, inner_port=5432, port=self.port, environment=environment, command=command)

    def _as_process(self, home: Path) -> Runner:
        server, initdb = POSTGRES.find(), INITDB.find()
        data, user = home / "data", _service_user()
        if user is not None:
            shutil.chown(home, user)
        make = [initdb, "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        run(make, home=home, user=user)
        place = ["-D", str(data), "-p", str(self.port), "-c", f"listen_addresses={HOST}", "-k", ""]
        _create_own_database(server, data, home, user)
        return LocalProcess([server, *place, *self._options], home, user=user, stop_signal=signal.SIGINT)


def _service_user() -> str | None:
    """PostgreSQL refuses to run as root; the system's package brings a user for it."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SERVICE_USER).pw_name
    except KeyError:
        raise ServerUnavailable(
            f"PostgreSQL does not run as root and there is no user {_SERVICE_USER}"
        ) from None


def _create_own_database(server: str, data: Path, home: Path, user: str | None) -> None:
    """By the single-user mode, before the first start: https://www.postgresql.org/docs/current/app-postgres.html"""
    command = [server, "--single", "-D", str(data), "postgres"]
    run(command, home=home, user=user, text=f"CREATE DATABASE {USER}\n")
