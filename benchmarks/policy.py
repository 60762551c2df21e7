"""What policy costs at ADMIT: `python -m benchmarks.policy [--rows FILE.jsonl]`.

CPU of one core for a signed record through the whole of ADMIT, with everything outside in memory: believed,
parsed, priced, decided, sealed. Every text is new: none is remembered from a job before, but those of an
agent's conversation, of which each job has two messages more. `--rows` are texts as `headworks policy eval`
takes them.
"""

import argparse
import asyncio
import gc
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import percentile
from benchmarks.report import save, show
from broker.policy.decide import Unrestricted
from broker.policy.judge import Judge
from broker.policy.revision import PolicyRevision
from tests.unit.workers.door import Door, Rules, asking, conversing
from tests.unit.workers.memory import (
    Received,
)
from tests.unit.workers.signing import signed
from workers.collector import spare_the_living

_POLICY = Path(__file__).parent.parent / "config" / "policy.yaml"
_PROSE = (
    "please read the minutes below and list who promised what anna said migration of our reporting cluster "
    "would be finished by may two days later than planned and that most tables were done nobody objected tom "
    "asked whether nightly jobs still need an old schema they do not the budget stays as it is"
)
_PERSONAL = "Write to joe.doe@example.com or call +44 20 7946 0958. "
_TIMES = 1_000


async def _cost_us(door: Door, records: Sequence[Received]) -> dict[str, float]:
    """By share of the records; the first tenth warms up."""
    taken = []
    gc.collect()
    spare_the_living()  # as a worker does
    for record in records:
        started = time.process_time_ns()
        await door.admit.handle([record])
        taken.append((time.process_time_ns() - started) / 1_000)
    door.producer.sent.clear()
    door.registered.clear()
    counted = sorted(taken[len(taken) // 10 :])
    return {"p50": percentile(counted, 0.5), "p99": percentile(counted, 0.99)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy", description=__doc__)
    parser.add_argument("--rows", type=Path, help="texts, one JSON object a line")
    parser.add_argument("--json", type=Path, default=Path("build/policy.json"), help="where the figures go")
    arguments = parser.parse_args()
    figures = asyncio.run(_figures([] if arguments.rows is None else _texts(arguments.rows)))
    show("Policy: CPU of one core for a job through ADMIT", _table(figures))
    save({"cpu_us": figures}, arguments.json)


async def _figures(rows: Sequence[str]) -> dict[str, dict[str, float]]:
    live, candidate = (Judge(PolicyRevision.load(_POLICY.read_bytes())) for _ in range(2))
    off, on, beside = Door(Unrestricted()), Door(Rules(live)), Door(Rules(live, candidate))
    kilobyte = _records(_prose(1_024) for _ in range(_TIMES))
    others = _records(_prose(1_024) for _ in range(_TIMES))
    figures = {
        "1 KB, no policy": await _cost_us(off, kilobyte),
        "1 KB": await _cost_us(on, kilobyte),
        "1 KB, and a candidate": await _cost_us(beside, others),
        "1 KB, data taken out": await _cost_us(
            on, _records(_PERSONAL + _prose(969) for _ in range(_TIMES // 2))
        ),
        "a conversation of up to 40 messages": await _cost_us(
            on, [record for _ in range(_TIMES // 50) for record in _conversation(20)]
        ),
        "100 KB": await _cost_us(on, _records(_prose(102_400) for _ in range(40))),
    }
    if rows:
        figures["rows"] = await _cost_us(on, _records(rows))
    return figures


def _table(figures: dict[str, dict[str, float]]) -> list[tuple[str, str, str]]:
    aims = {("1 KB", "p50"): "400 µs", ("100 KB", "p50"): "20,000 µs", ("rows", "p99"): "2,000 µs"}
    return [
        (f"{name}, {share}", f"{value:,.0f} µs", aims.get((name, share), ""))
        for name, at in figures.items()
        for share, value in at.items()
    ]


def _texts(file: Path) -> list[str]:
    return [str(json.loads(line)["text"]) for line in file.read_text().split("\n") if line]


def _records(texts: Any) -> list[Received]:
    return [signed(asking(text)) for text in texts]


def _conversation(jobs: int) -> Iterator[Received]:
    """A system prompt of 2 KB, and by each job a question and an answer of 300 characters more."""
    messages = [{"role": "system", "content": _prose(2_048)}]
    for _ in range(jobs):
        messages.append({"role": "user", "content": _prose(300)})
        yield signed(conversing(messages))
        messages.append({"role": "assistant", "content": _prose(300)})


_chance = random.Random(1)


def _prose(characters: int) -> str:
    return " ".join(_chance.choices(_PROSE.split(), k=characters // 4))[:characters]


if __name__ == "__main__":
    main()
