"""`headworks submit`: one prompt from the shell."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from headworks.cli.connection import connect
from schemas.topics import Lane

if TYPE_CHECKING:
    from broker.settings import KafkaSettings
    from headworks.client import Job, Result

_PATIENCE_S = 10.0


def submit(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="PROMPT", help="What to ask; `-` reads it from standard input.", show_default=False
        ),
    ],
    *,
    model: Annotated[str, typer.Option(metavar="MODEL", help="The model to ask.")] = "gpt-4o-mini",
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="A system message.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Longest answer, in tokens.")
    ] = None,
    lane: Annotated[
        Lane, typer.Option(metavar="LANE", help="Quality of service: interactive, standard or bulk.")
    ] = Lane.INTERACTIVE,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for the answer.")
    ] = 300,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the answer, or print the job id.")
    ] = True,
    job_id: Annotated[
        UUID | None, typer.Option(metavar="ID", help="Ask for a job that was submitted before.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Submit one prompt and print the answer.

    Examples:
        headworks submit "What is the capital of Peru?"
        cat letter.txt | headworks submit - --system "Translate to French."

    The credential is taken from HEADWORKS_CREDENTIAL, or from a `headworks dev` that runs in this folder.

    With --no-wait it prints the job id and leaves. The same command with --job-id fetches the answer later;
    the job is paid once.

    Exit status: 0 answered (or, with --no-wait, submitted); 1 anything else, said by its code on standard
    error; 2 wrong usage.
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
    """Raises typer.BadParameter: to ask nothing costs too."""
    given = sys.stdin.buffer.read() if prompt == "-" else os.fsencode(prompt)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("the prompt is not UTF-8 text") from None
    if not text.strip():
        raise typer.BadParameter("the prompt is empty")
    return text


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
        job_id = await client.submit(job)
        patience = asyncio.get_running_loop().call_later(_PATIENCE_S, _reassure, job_id)
        try:
            return await client.result(job_id, timeout_s)
        finally:
            patience.cancel()


def _reassure(job_id: UUID) -> None:
    typer.echo(
        f"No answer yet. The job goes on when you stop waiting; the same command with --job-id {job_id} "
        "asks for it again.",
        err=True,
    )


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
