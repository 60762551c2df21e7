"""The simulated provider as a server: an OpenAI-compatible HTTP endpoint with no model behind it."""

import asyncio
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from headworks.simulate.behaviour import Behaviour
from headworks.simulate.calls import CallLog, Counts
from headworks.simulate.connection import Connection
from headworks.simulate.delivery import Delivery
from headworks.simulate.desk import Desk
from headworks.simulate.routes import is_call, route
from headworks.simulate.wire import Request

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
BACKLOG: Final = 4096


class SimulatedProvider:
    """Listens while it is entered; port 0 takes a free one.

    `log` names the file that gets one JSON line a call, and is appended to. `api_key`, where one is given,
    is asked of every path but /healthz. To be used within one event loop. Entering raises OSError where the
    address is taken or the log cannot be opened.
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Path | None = None,
        api_key: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._log_path = log
        self._desk = Desk(behaviour or Behaviour(), api_key)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._failure: OSError | None = None
        self._failed = asyncio.Event()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """Where /healthz, /calls and /faults are."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client calls its base URL: it ends in /v1."""
        return f"{self.url}/v1"

    @property
    def behaviour(self) -> Behaviour:
        return self._desk.behaviour

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """For calls that come from now on; those under way keep the answer that was decided for them."""
        self._desk.set_behaviour(behaviour)

    def calls(self, job_id: str | None = None) -> Counts:
        """Of one job, or of all."""
        counts = self._desk.counts
        return counts.of_all() if job_id is None else counts.of_job(job_id)

    async def reached(self, total: int) -> None:
        """Returns once `total` calls have come in since the start."""
        await self._desk.counts.reach(total)

    async def failed(self) -> OSError | None:
        """Returns once the call log cannot be written any more, with the cause."""
        await self._failed.wait()
        return self._failure

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        connection = partial(Connection, self, loop, BODY_BYTES_MAX)
        self._server = await loop.create_server(connection, self._host, self._port, backlog=BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]
        if self._log_path is not None:
            try:
                self._desk.log = CallLog(self._log_path, loop, self._fail)
            except OSError:
                self._server.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._server.wait_closed()
        if self._desk.log is not None:
            self._desk.log.close()

    def _fail(self, failure: OSError) -> None:
        self._failure = failure
        self._failed.set()

    # What its connections ask of it.

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def deliver(self, request: Request) -> Delivery:
        return route(self._desk, request)

    def done(self, request: Request, *, abandoned: bool) -> None:
        if is_call(request):
            self._desk.counts.ended(abandoned=abandoned)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
