"""Runs a worker as a service: FastStream's application, the health endpoint, and an orderly end."""

import asyncio
import signal
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
    app = application(worker)
    await worker.open()
    try:
        await app.start()
        async with _http(app, worker.settings.health):
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


@asynccontextmanager
async def _http(app: AsgiFastStream, settings: HealthSettings) -> AsyncIterator[None]:
    if settings.port == 0:
        yield
        return
    config = uvicorn.Config(
        app, settings.host, settings.port, lifespan="off", log_config=None, access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(_listen(server, settings), name="health")
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


async def _listen(server: uvicorn.Server, settings: HealthSettings) -> None:
    try:
        await server.serve()
    except SystemExit:
        raise SettingsInvalid(
            f"port {settings.port} on {settings.host} is taken; set HEADWORKS_HEALTH__PORT, or 0 for none"
        ) from None
