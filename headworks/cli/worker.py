"""`headworks worker`: run pools against real servers."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer


class PoolName(StrEnum):
    ADMIT = "admit"
    RESERVE = "reserve"
    DISPATCH = "dispatch"
    SETTLE = "settle"
    RETRY = "retry"
    ALL = "all"


def worker(
    pools: Annotated[
        list[PoolName],
        typer.Argument(metavar="POOL", help="admit, reserve, dispatch, settle, retry; or all."),
    ],
    health_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Where /healthz, /readyz and /metrics are; 0 for nowhere. Without it, as the settings say.",
        ),
    ] = None,
) -> None:
    """Run worker pools against real servers, until SIGTERM or Ctrl-C.

    A job passes ADMIT (is it authentic, valid, allowed?), RESERVE (is there budget?), DISPATCH (the call) and
    SETTLE (record and reply); RETRY brings back what may be tried later. Run as many processes of each as the
    load needs.

    Examples:
        headworks worker all                            # all in one process
        headworks worker admit reserve settle retry     # all but the calls
        headworks worker dispatch --health-port 8081    # 2,000 calls in flight

    `headworks doctor` checks the settings and every server first. At the first signal a worker stops taking
    jobs, lets the calls under way end for `drain_s`, and cuts off the rest; a second Ctrl-C ends it at once.

    Exit status: 0 all calls had ended; 1 it could not start; 2 wrong usage; 4 some calls were cut off.
    """
    from broker.settings import LogSettings, Settings  # the command line must come up fast
    from broker.telemetry.log import configure
    from headworks.cli.failures import failures_logged
    from headworks.cli.loop import run
    from workers.app import Worker
    from workers.pools import POOLS
    from workers.service import serve, stop_on_signals

    with failures_logged(LogSettings()):
        settings = Settings.load()
    if health_port is not None:
        health = settings.health.model_copy(update={"port": health_port})
        settings = settings.model_copy(update={"health": health})
    configure(settings.log)
    _allow_many_connections()
    chosen = POOLS if PoolName.ALL in pools else [pool.value for pool in pools]

    async def main() -> bool:
        process = Worker(settings, [pool for pool in POOLS if pool in chosen])
        with _quiet_start() as ready:
            await serve(process, stop_on_signals(), ready)
        return process.drained

    with failures_logged(settings.log):
        drained = run(main())
    raise typer.Exit(0 if drained else 4)


@contextmanager
def _quiet_start() -> Iterator[Callable[[], None]]:
    """What keeps a worker from starting is said once, by its own error; aiokafka would repeat itself."""
    from workers.collector import spare_the_living

    library = logging.getLogger("aiokafka")
    usual = library.level
    library.setLevel(logging.CRITICAL)

    def ready() -> None:
        library.setLevel(usual)
        spare_the_living()

    yield ready


def _allow_many_connections() -> None:
    """Thousands of calls in flight are thousands of sockets: take all that the system grants."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
