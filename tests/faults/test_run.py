"""`headworks run` on the example jobs, interrupted and given again: same answers, each job called once."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.identity.credential import Credential
from tests.stack import Account, CommandProcess, Fleet, until

EXAMPLES = Path("examples/jobs.jsonl")
LINES = 626
BEFORE = 150
"""Calls that were made when the interrupt comes."""
INTERRUPTED = 130
STEADY = {"latency": {"kind": "uniform", "min_ms": 50, "max_ms": 200}}


def start(fleet: Fleet, credential: Credential, output: Path) -> CommandProcess:
    arguments = ("run", str(EXAMPLES), "--output", str(output), "--in-flight", "50")
    return fleet.stack.command(*arguments, HEADWORKS_CREDENTIAL=credential.reveal())


def written(output: Path) -> list[dict[str, Any]]:
    files = (output, output.with_name(f"{output.stem}.errors.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def told(lines: list[dict[str, Any]]) -> Counter[str]:
    """What is the same in each run of the file, however often each line stands there."""
    return Counter(json.dumps([line["custom_id"], line["error"], _answer(line)]) for line in lines)


def _answer(line: dict[str, Any]) -> dict[str, Any] | None:
    if line["response"] is None:
        return None
    body = {name: content for name, content in line["response"]["body"].items() if name != "created"}
    return {"status_code": line["response"]["status_code"], "body": body}


def ids_of_examples() -> Iterator[str | None]:
    """The `custom_id` of each line; None of one that has none, or is no JSON."""
    for line in EXAMPLES.read_bytes().splitlines():
        try:
            yield json.loads(line).get("custom_id")
        except ValueError:
            yield None


async def test_an_interrupted_run_ends_as_if_it_had_not_been(fleet: Fleet, name: str, tmp_path: Path) -> None:
    fleet.provider.behave(STEADY)
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    undisturbed = start(fleet, await fleet.stack.application(f"{name}-other"), whole)
    assert undisturbed.wait() == 0, undisturbed.tail()
    credential = await fleet.stack.application(name)
    calls_before = int(fleet.provider.counts()["total"])

    async def in_the_middle() -> bool:
        return int(fleet.provider.counts()["total"]) >= calls_before + BEFORE

    first = start(fleet, credential, output)
    await until(in_the_middle, f"{BEFORE} calls")
    first.send(signal.SIGINT)
    assert first.wait() == INTERRUPTED, first.tail()
    assert BEFORE // 2 < len(written(output)) < LINES
    second = start(fleet, credential, output)
    assert second.wait() == 0, second.tail()
    assert Counter(line["custom_id"] for line in written(output)) == Counter(ids_of_examples())
    assert told(written(output)) == told(written(whole))
    answered = [line for line in written(output) if line["response"] is not None]
    job_ids = {row.job_id for row in await fleet.stack.ledger.terminals(name)}
    account = await Account.of(fleet.stack, fleet.provider, name, job_ids)
    assert Counter(str(job_id) for job_id, _ in account.calls) == Counter(
        line["response"]["request_id"] for line in answered
    )
    account.each_call_is_explained(died=())
    await account.nothing_is_held()
