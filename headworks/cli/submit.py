"""`headworks submit`: one prompt from the shell."""

import sys
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from headworks.cli.connection import connect
from schemas.topics import Lane

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from headworks.client import Job, Result


def submit(
    prompt: Annotated[
        str, typer.Argument(help="What to ask; `-` reads it from standard input.", show_default=False)
    ],
    *,
    model: Annotated[str, typer.Option(help="The model to ask.")] = "gpt-4o-mini",
    system: Annotated[str | None, typer.Option(help="A system message.", show_default=False)] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens.", show_default=False)
    ] = None,
    lane: Annotated[Lane, typer.Option(help="Quality of service.")] = Lane.INTERACTIVE,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 300,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer.")] = True,
    job_id: Annotated[
        UUID | None, typer.Option(help="Ask for a job that was submitted before.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Submit one prompt and print the answer.

        headworks submit "What is the capital of Peru?"
        cat letter.txt | headworks submit - --system "Translate to French."

    With --no-wait it prints the job id instead; the same command with --job-id fetches the answer later, and
    is paid once. Exit status: 0 answered (or, with --no-wait, submitted), 1 anything else; what it was is
    said on standard error by its code.
    """
    from headworks.cli.loop import run
    from headworks.client import Job

    job = Job(_request(_text(prompt), model, system, max_tokens), lane=lane, job_id=job_id)
    kafka = connect()
    if not wait:
        typer.echo(run(_submit(kafka, job)))
        return
    result = run(_ask(kafka, job, timeout))
    if as_json:
        typer.echo(_as_json(result))
    raise typer.Exit(_say(result, silent=as_json))


def _text(prompt: str) -> str:
    return sys.stdin.read() if prompt == "-" else prompt


def _request(prompt: str, model: str, system: str | None, max_tokens: int | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    request: dict[str, Any] = {"model": model, "messages": messages}
    return request if max_tokens is None else request | {"max_tokens": max_tokens}


async def _submit(kafka: "KafkaSettings", job: "Job") -> UUID:
    from headworks.client import Client

    async with Client(kafka=kafka) as client:
        return await client.submit(job, reply=False)


async def _ask(kafka: "KafkaSettings", job: "Job", timeout_s: float) -> "Result":
    from headworks.client import Client

    async with Client(kafka=kafka) as client:
        return await client.run(job, timeout_s=timeout_s)


def _say(result: "Result", *, silent: bool) -> int:
    from headworks.batch.output import code_of, message_of
    from headworks.client import Answered

    if not isinstance(result, Answered):
        typer.echo(f"{code_of(result)}: {message_of(result)}", err=True)
        return 1
    if not silent:
        typer.echo(result.text)
    return 0


def _as_json(result: "Result") -> str:
    import dataclasses

    import orjson

    fields = dataclasses.asdict(result)
    return orjson.dumps({"status": type(result).__name__.lower()} | fields).decode()
