"""`python -m tests.crucible --seconds 120 --seed 1`, or `make crucible SECONDS=120 SEED=1`.

Everything is real: Kafka, PostgreSQL, Redis, two worker processes for each group of pools; only the provider
is simulated, and it fails. The last line printed is one JSON object with the counts, whatever happens; the
exit status is 1 where one that must be zero is not.
"""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import orjson
import uvloop

from broker.identity.directory import ProjectSettings
from tests.crucible import evidence, provider
from tests.crucible.arena import Arena, Servers, prepared, servers, workers_of
from tests.crucible.checker import Report, check
from tests.crucible.gauges import Gauges, Node
from tests.crucible.history import History
from tests.crucible.nemesis import Nemesis
from tests.crucible.plan import DECK, ON_REQUEST, plan
from tests.crucible.traffic import SOURCES, Source, Traffic, request
from tests.crucible.waits import Waits
from tests.stack import RealStack
from tests.stack.detour import detour
from tests.stack.jobs import bound_nanodollars
from tests.stack.stack import DOLLARS_PER_DAY

_SHOWN_MAX = 40
_SLOWEST_SHOWN = 5
_REST_S = 240.0
"""Beside the load: to start, to come to rest, and to gather what is on record."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = _report(options)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line is owed all the same
        traceback.print_exc()
        report = check(History(budgets={}, errors=(repr(error),)))
    _write(orjson.dumps(asdict(report.counts)).decode())
    return 0 if report.holds_good else 1


def _report(options: argparse.Namespace) -> Report:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that servers are away is what we are here for
    with tempfile.TemporaryDirectory(prefix="headworks-crucible-") as folder, servers() as found:
        history = uvloop.run(_run(options, Path(folder), found))
    options.history.parent.mkdir(parents=True, exist_ok=True)
    options.history.write_bytes(orjson.dumps(history, default=str))
    report = check(history)
    _tell(report, history, options)
    return report


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crucible", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="of load")
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults")
    parser.add_argument("--only", help=f"of {', '.join(dict.fromkeys((*DECK, *ON_REQUEST)))}")
    parser.add_argument(
        "--history", type=Path, default=Path("build/crucible.json"), help="where all that was recorded goes"
    )
    return parser.parse_args()


async def _run(options: argparse.Namespace, folder: Path, found: Servers) -> History:
    """Raises TimeoutError where it hangs."""
    async with asyncio.timeout(options.seconds + _REST_S), found.postgres.fresh_database() as database_url:
        stack = await prepared(found, database_url, folder)
        try:
            simulator = stack.simulator()
            simulator.behave(provider.ORDINARY)
            with detour(stack, found.to_kafka, found.postgres, found.redis, simulator) as proxies:
                budgets = _budgets(options.seconds)
                traffics = [await _traffic(stack, source, budgets) for source in SOURCES]
                workers = workers_of(stack)
                arena = Arena(stack, found.kafka, found.postgres, found.redis, simulator, proxies, workers)
                return await _fight(options, arena, traffics, budgets)
        finally:
            stack.close()
            await asyncio.to_thread(found.postgres.restore)


async def _fight(
    options: argparse.Namespace, arena: Arena, traffics: list[Traffic], budgets: dict[str, int]
) -> History:
    await arena.made_whole()
    gauges = Gauges(arena.stack.settings.redis, await _nodes(arena.stack, traffics))
    kinds = DECK if options.only is None else options.only.split(",")
    faults = plan(options.seed, options.seconds, len(arena.workers), kinds)
    nemesis = Nemesis(arena, _say)
    watching = asyncio.create_task(gauges.watch())
    _say(f"{len(faults)} faults in {options.seconds:g} s of load, seed {options.seed}")
    try:
        for traffic in traffics:
            await traffic.client.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(nemesis.carry_out(faults))
            for traffic in traffics:
                group.create_task(traffic.flow(options.seconds))
        _say("the load is over; waiting until all is quiet")
        arena.provider.behave(provider.CALM)
        await arena.made_whole()
        await evidence.quiet(arena, traffics, gauges, _say)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        for traffic in traffics:
            await traffic.client.close()
    return await evidence.history(arena, traffics, budgets, gauges, nemesis)


async def _traffic(stack: RealStack, source: Source, budgets: dict[str, int]) -> Traffic:
    settings = ProjectSettings(nanodollars_per_day=budgets[source.project])
    credential = await stack.application(source.application, settings, source.project)
    return Traffic(source, stack.client(credential))


def _budgets(seconds: float) -> dict[str, int]:
    budgets = {}
    for source in SOURCES:
        afforded = DOLLARS_PER_DAY * 10**9
        if source.afforded is not None:
            jobs = source.afforded * source.per_s * seconds
            afforded = int(jobs * bound_nanodollars(request(source, 0)))
        budgets[source.project] = afforded
    return budgets


async def _nodes(stack: RealStack, traffics: list[Traffic]) -> list[Node]:
    found: dict[str, Node] = {}
    for traffic in traffics:
        row = await stack.ledger.project(traffic.source.application)
        found[traffic.source.project] = Node(traffic.source.project, row.id, row.organization_id)
    return list(found.values())


def _tell(report: Report, history: History, options: argparse.Namespace) -> None:
    for kind, seconds in report.recovered_s:
        _say(f"recovered from {kind}: " + ("never seen" if seconds is None else f"{seconds:.1f} s"))
    waits = Waits(history)
    for job_id in (*waits.slowest(_SLOWEST_SHOWN, probes=True), *waits.slowest(_SLOWEST_SHOWN, probes=False)):
        _say(f"waited: {waits.line(job_id)}")
    for cause, number in sorted(report.second_calls_by_cause.items()):
        _say(f"called again: {number} x {cause}")
    for line in report.broken[:_SHOWN_MAX]:
        _say(f"BROKEN  {line}")
    _say(f"history: {options.history}")


def _say(line: str) -> None:
    _write(f"... {line}")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
