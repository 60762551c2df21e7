"""`headworks worker`: run pools against real servers."""

import gc
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
        list[PoolName], typer.Argument(help="Pools to run in this process, or `all`.", show_default=False)
    ],
    health_port: Annotated[
        int | None,
        typer.Option(help="Port of /healthz, /readyz and /metrics; 0 for none. Default: the settings'."),
    ] = None,
) -> None:
    """Run worker pools until SIGTERM or Ctrl-C.

    Jobs pass four pools. Run as many processes of each as the load needs:

        headworks worker all                # everything in one process
        headworks worker dispatch           # more provider calls in flight

    Settings come from headworks.toml (or the file that HEADWORKS_CONFIG names) and HEADWORKS_* variables;
    `headworks doctor` checks them and every server. On the first signal the worker stops taking jobs, lets
    calls under way end within `drain_s`, and hands over the rest. Exit status: 0 drained, 4 handed over.
    """
    from broker.settings import Settings  # the command line must come up fast
    from broker.telemetry.log import configure
    from headworks.cli.loop import run
    from workers.app import POOLS, Worker
    from workers.service import serve, stop_on_signals

    settings = Settings.load()
    if health_port is not None:
        health = settings.health.model_copy(update={"port": health_port})
        settings = settings.model_copy(update={"health": health})
    configure(settings.log)
    _allow_many_connections()
    chosen = POOLS if PoolName.ALL in pools else [pool.value for pool in pools]

    async def main() -> bool:
        process = Worker(settings, [pool for pool in POOLS if pool in chosen])
        await serve(process, stop_on_signals(), gc.freeze)
        return process.drained

    raise typer.Exit(0 if run(main()) else 4)


def _allow_many_connections() -> None:
    """Thousands of calls in flight are thousands of sockets: take all that the system grants."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
