"""Runs a worker as a service: FastStream's application, the health endpoint, and an orderly end."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from faststream.asgi import AsgiFastStream

from broker.errors import SettingsInvalid
from broker.settings import HealthSettings
from workers.app import Worker, application


async def serve(worker: Worker, stop: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run until `stop` is set, then drain. Raises what keeps the worker from starting."""
    async with running(worker):
        on_ready()
        await stop.wait()


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """Started when entered, drained when left. Raises ConfigurationError, Unavailable."""
    with _listener(worker.settings.health) as listener:
        app = application(worker)
        await worker.open()
        try:
            await app.start()
            async with _http(app, listener):
                yield worker
        finally:
            await app.stop()


def stop_on_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second SIGINT ends the process as it would have."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first)
    return stop


class _Server(uvicorn.Server):
    """Signals are the service's own affair."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _listener(settings: HealthSettings) -> Iterator[socket.socket | None]:
    """Taken before anything else is started: uvicorn would find out last, and log what it thinks of it."""
    if settings.port == 0:
        yield None
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        why = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise SettingsInvalid(
            f"the health endpoint cannot have port {settings.port} on {settings.host} ({why}): "
            "give another by --health-port or HEADWORKS_HEALTH__PORT, 0 for none"
        ) from None
    with listener:
        yield listener


@asynccontextmanager
async def _http(app: AsgiFastStream, listener: socket.socket | None) -> AsyncIterator[None]:
    if listener is None:
        yield
        return
    server = _Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="health")
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task
