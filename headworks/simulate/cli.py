"""The command `headworks simulate`: the simulated provider on its own, until SIGINT or SIGTERM."""

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
import uvloop
from pydantic import ValidationError

from headworks.simulate.behaviour import Behaviour, Fault, explain, parse_latency
from headworks.simulate.server import SimulatedProvider

DEFAULT_PORT: Final = 8400
FAILED: Final = "simulator_failed"
"""The code of what keeps it from running."""
_SERVER: Final = "Server"
_BEHAVIOUR: Final = "Behaviour"

HostOption = Annotated[str, typer.Option(help="Address to listen at.", rich_help_panel=_SERVER)]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", rich_help_panel=_SERVER)
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        envvar="HEADWORKS_SIMULATE_API_KEY",
        show_default=False,
        help="Ask every caller for this key, as providers do. Without it anybody may call.",
        rich_help_panel=_SERVER,
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        show_default=False,
        help="Append one JSON line a call to this file: time, job, attempt, model, status, tokens, hash; "
        "never a prompt.",
        rich_help_panel=_SERVER,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Say where it listens as one JSON object.", rich_help_panel=_SERVER)
]
LatencyOption = Annotated[
    str | None,
    typer.Option(
        metavar="MS",
        show_default=False,
        help="Time to an answer in ms: 20, uniform:10:50 (least, most) or lognormal:200:1500 (p50, p99); "
        "0 if not given.",
        rich_help_panel=_BEHAVIOUR,
    ),
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=RATE",
        show_default=False,
        help="Share of calls that suffer a fault, as in hang=0.01; may be repeated. "
        f"There are {', '.join(Fault)}.",
        rich_help_panel=_BEHAVIOUR,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=NUMBER",
        show_default=False,
        help="Any other number of the behaviour; may be repeated. There are seed, retry_after_s, "
        "requests_per_second_max, capacity, calls_at_once_max, oversized_bytes, slow_first_byte_ms, "
        "stream_gap_ms, completion_tokens_min, completion_tokens_max.",
        rich_help_panel=_BEHAVIOUR,
    ),
]


def simulate(
    host: HostOption = "127.0.0.1",
    port: PortOption = DEFAULT_PORT,
    api_key: ApiKeyOption = None,
    log: LogOption = None,
    as_json: JsonOption = False,
    latency: LatencyOption = None,
    fault: FaultOption = None,
    number: SetOption = None,
) -> None:
    """Run a provider that no model stands behind: to try out Headworks, and to see it cope.

    It speaks OpenAI's API over HTTP (POST /v1/chat/completions, also
    streamed, and /v1/embeddings; GET /v1/models) and says in every answer
    that it is simulated. The same request gets the same answer, with token
    counts that follow from its size.

    While it runs: GET /calls counts what was called (?job_id=ID for one
    job), GET /faults shows how it behaves, and PUT /faults replaces that;
    there one can also set canned answers for calls that carry a marker.

    Example:
        headworks simulate --latency lognormal:200:1500 --fault error=0.02
    """
    behaviour = _behaviour(latency, fault or [], number or [])
    provider = SimulatedProvider(behaviour=behaviour, host=host, port=port, log=log, api_key=api_key)
    try:
        failure = uvloop.run(_serve(provider, as_json=as_json))
    except OSError as error:
        if error.filename is not None:
            _leave(f"{error.filename} cannot be written: {error.strerror}")
        _leave(f"the simulated provider cannot start at {host}:{port}: {error.strerror or error}")
    if failure is not None:
        _leave(f"the call log cannot be written any more, so the provider has stopped: {failure}")


def _leave(reason: str) -> NoReturn:
    """As every other command does; this one is also a program of its own."""
    typer.echo(f"error [{FAILED}]: {reason}", err=True)
    raise typer.Exit(1)


def _behaviour(latency: str | None, faults: list[str], numbers: list[str]) -> Behaviour:
    fields: dict[str, object] = {f"{name}_rate": rate for name, rate in map(_fault_rate, faults)}
    fields.update(_pair(text) for text in numbers)
    try:
        if latency is not None:
            fields["latency"] = parse_latency(latency)
        return Behaviour.model_validate(fields)
    except ValidationError as error:
        raise typer.BadParameter(explain(error)) from None
    except ValueError as error:
        raise typer.BadParameter(f"latency {latency}: {error}") from None


def _fault_rate(text: str) -> tuple[Fault, str]:
    name, rate = _pair(text)
    try:
        return Fault(name), rate
    except ValueError:
        raise typer.BadParameter(f"{name} is no fault; there are {', '.join(Fault)}") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text} lacks its value: write {text}=NUMBER")
    return name.replace("-", "_"), value


async def _serve(provider: SimulatedProvider, *, as_json: bool) -> OSError | None:
    """Until a signal asks to stop (None) or the log fails (its error). Raises OSError if it cannot start."""
    _allow_many_connections()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with provider:
        typer.echo(_greeting(provider, as_json=as_json))
        sys.stdout.flush()
        stopped, failed = asyncio.create_task(stop.wait()), asyncio.create_task(provider.failed())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        failed.cancel()
        return failed.result() if failed.done() and not failed.cancelled() else None


def _greeting(provider: SimulatedProvider, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(
            {"base_url": provider.base_url, "url": provider.url, "port": provider.port, "pid": os.getpid()}
        )
    where = f"{provider.base_url} (counts at {provider.url}/calls)"
    return f"Simulated provider, no model behind it: {where}. Ctrl-C stops it."


def _allow_many_connections() -> None:
    """A thousand open files, the usual soft limit, would end at a thousand waiting calls."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
