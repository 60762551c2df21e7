"""The whole pipeline on real servers: `python -m benchmarks.pipeline` (or `make bench`).

Kafka, PostgreSQL, Redis, the simulated provider (20 ms), two worker processes and the client share this
machine. The floor, five plain hops through the same Kafka, is measured in the same run.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, memory, relay, report
from benchmarks.plant import GROUPS, Plant, plant, say
from benchmarks.stolen import stolen
from headworks.client import Client
from tests.stack import SimulatorProcess, WorkerProcess

PROVIDER_MS = 20
PROMPT_BYTES = 1024
RATES_PER_S = (50, 200)
WARM_UP_JOBS = 3_000
"""Java compiles what is called often; the first thousand jobs pay for that."""


def main() -> None:
    options = _options()
    figures = uvloop.run(_measure(options))
    report.show("The pipeline, and the floor measured in the same run", _rows(figures))
    report.save(figures, options.json)
    print(f"{options.json}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs of the throughput run")
    parser.add_argument("--in-flight", type=int, default=1_000, help="of them at the same time")
    parser.add_argument("--seconds", type=int, default=10, help="of each latency run")
    parser.add_argument("--calls", type=int, default=5_000, help="calls in flight of the memory run; 0: none")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    return parser.parse_args()


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    slots = str(max(2_000, options.calls + 500))
    async with plant(PROVIDER_MS, HEADWORKS_DISPATCH__SLOTS=slots) as works:
        say("the floor: five plain hops")
        floor = await relay.measure(works.stack.settings.kafka.bootstrap_servers, RATES_PER_S)
        return {
            "machine": {"cores": os.cpu_count()},
            "floor": floor._asdict(),
            **await _pipeline(options, works),
        }


async def _pipeline(options: argparse.Namespace, works: Plant) -> dict[str, Any]:
    request = load.chat(PROMPT_BYTES)
    async with works.stack.client(await works.stack.application("bench")) as client:
        say("warming up")
        await load.at_once(client, request, WARM_UP_JOBS, options.in_flight)
        say(f"throughput: {options.jobs:,} jobs")
        with stolen() as taken:
            throughput = await _throughput(options, client, request, [*works.workers, works.provider])
        throughput["stolen"] = taken.share
        latencies = []
        for rate in RATES_PER_S:
            say(f"latency at {rate} jobs a second")
            with stolen() as taken:
                latency = await load.paced(client, request, rate, options.seconds)
            latencies.append(latency._asdict() | {"stolen": taken.share})
        say(f"memory with {options.calls:,} calls in flight")
        held = await memory.measure(client, works, options.calls) if options.calls else None
    return {"latency": latencies, "throughput": throughput, "memory": held}


async def _throughput(
    options: argparse.Namespace,
    client: Client,
    request: Mapping[str, Any],
    processes: Sequence[WorkerProcess | SimulatorProcess],
) -> dict[str, Any]:
    before = {process.name: process.cpu_s() for process in processes}
    own = time.process_time()
    rate = await load.at_once(client, request, options.jobs, options.in_flight)
    cpu = {
        process.name: (process.cpu_s() - before[process.name]) / options.jobs * 1e6 for process in processes
    }
    cpu["client"] = (time.process_time() - own) / options.jobs * 1e6
    return {
        "jobs_per_s": rate,
        "cpu_us_per_job": cpu,
        "workers_cpu_us_per_job": sum(cpu["+".join(pools)] for pools in GROUPS),
        "rss_mib": {process.name: process.rss_bytes() / 2**20 for process in processes},
    }


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    floor, throughput = figures["floor"], figures["throughput"]
    rows = [
        (
            "jobs a second",
            f"{throughput['jobs_per_s']:,.0f}",
            f"floor {floor['records_per_s']:,.0f} ({throughput['jobs_per_s'] / floor['records_per_s']:.0%})",
        ),
        (
            "workers' CPU a job",
            f"{throughput['workers_cpu_us_per_job']:,.0f} µs",
            f"floor {floor['cpu_us_per_hop'] * relay.HOPS:,.0f} µs",
        ),
    ]
    for latency, bare in zip(figures["latency"], floor["latency"], strict=True):
        name = f"latency at {latency['rate_per_s']}/s, over the provider's {PROVIDER_MS} ms"
        p50, p99 = latency["p50_ms"] - PROVIDER_MS, latency["p99_ms"] - PROVIDER_MS
        rows.append(
            (
                name,
                f"p50 +{p50:.1f}  p99 +{p99:.1f} ms",
                f"floor {bare['p50_ms']:.1f} / {bare['p99_ms']:.1f} ms",
            )
        )
    parts = [throughput, *figures["latency"]]
    if all(part["stolen"] is not None for part in parts):
        shares = ", ".join(f"{part['stolen']:.0%}" for part in parts)
        rows.append(("of the machine, taken by its host during these", shares, ""))
    rows += [
        (f"CPU a job: {name}", f"{cpu:,.0f} µs", "") for name, cpu in throughput["cpu_us_per_job"].items()
    ]
    rows += [(f"memory: {name}", f"{mib:,.0f} MiB", "") for name, mib in throughput["rss_mib"].items()]
    return rows + (memory.rows(figures["memory"]) if figures["memory"] else [])


if __name__ == "__main__":
    main()
