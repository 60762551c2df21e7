"""A detector in a process of its own: what it finds, and every way in which it can fail."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from broker.plugins.child import Child, Limits, check
from broker.plugins.contract import Flag
from broker.plugins.errors import (
    DetectorDied,
    DetectorFailed,
    DetectorGarbage,
    DetectorTimedOut,
    DetectorUnusable,
)
from headworks.detectors import Mark
from tests.unit.plugged import installed

__all__ = ["installed"]
pytestmark = pytest.mark.usefixtures("installed")

LIMITS = Limits(start_s=60, look_s=60)
JOE = (Flag("PERSON", 900, 1, (Mark(0, 4, 7),)),)


def asks(content: str) -> bytes:
    request: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return orjson.dumps({"endpoint": "/v1/chat/completions", "request": request})


@asynccontextmanager
async def started(name: str = "words", limits: Limits = LIMITS) -> AsyncIterator[Child]:
    child = await Child.start(name, limits)
    try:
        yield child
    finally:
        await child.kill()


async def test_it_is_asked_again_and_again() -> None:
    async with started() as child:
        assert (child.kinds, child.version) == (("CODENAME", "PERSON"), "plugged-words 1.5")
        assert await child.look("request", asks("Ask Joe.")) == JOE
        assert await child.look("request", asks("Ask me.")) == ()
        answer = orjson.dumps({"choices": [{"message": {"role": "assistant", "content": "Ask Joe."}}]})
        assert await child.look("answer", answer) == JOE


async def test_whatever_a_job_does_to_it_is_told_without_the_job() -> None:
    async with started() as child:
        with pytest.raises(DetectorFailed, match=r"^ValueError$"):
            await child.look("request", asks("raise: my secret"))
        with pytest.raises(DetectorGarbage, match="a finding must be"):
            await child.look("request", asks("garbage"))
        with pytest.raises(DetectorFailed):
            await child.look("request", b"no JSON")
        assert await child.look("request", asks("Ask Joe.")) == JOE, "and it goes on"


async def test_one_that_hangs_is_killed() -> None:
    async with started(limits=LIMITS._replace(look_s=0.3)) as child:
        with pytest.raises(DetectorTimedOut):
            await child.look("request", asks("hang"))
        assert child.is_over


async def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    async with started() as child:
        held = asyncio.create_task(asyncio.to_thread((tmp_path / "held").read_bytes))
        assert await child.look("request", asks(f"spawn {tmp_path / 'held'}")) == ()
        assert not held.done()
    async with asyncio.timeout(60):
        assert await held == b""


async def test_one_that_dies_is_over() -> None:
    async with started() as child:
        with pytest.raises(DetectorDied):
            await child.look("request", asks("die"))
        assert child.is_over


async def test_our_secrets_are_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HEADWORKS_SECRETS__SEAL_KEY", "hush")
    async with started() as child:
        assert await child.look("request", asks("secrets")) == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stubborn", "detector stubborn: RuntimeError: its model is not there"),
        ("gone", "detector gone: its process ended before it was ready"),
        ("mute", "detector mute: ValueError: it has no method `detect`"),
        ("unkind", "detector unkind: ValueError: `kinds` must hold 1 to 32 names"),
        ("missing", "detector missing: AttributeError"),
    ],
)
async def test_one_that_cannot_be_loaded_says_why(name: str, told: str) -> None:
    with pytest.raises(DetectorUnusable, match=told):
        await Child.start(name, LIMITS)


async def test_one_that_does_not_come_up_is_not_waited_for() -> None:
    with pytest.raises(DetectorUnusable, match=r"not ready after 0\.3 s"):
        await Child.start("silent", LIMITS._replace(start_s=0.3))


def test_one_that_is_not_installed_is_named_beside_those_that_are() -> None:
    check(["names", "words"])
    with pytest.raises(DetectorUnusable, match=r"detectors\.nmaes: .*names"):
        check(["nmaes"])


async def test_the_example_finds_names() -> None:
    async with started("names") as child:
        text = "Write to Samantha Warren-Holt and Frau Özdemir, not to the Warren Court."
        [flag] = await child.look("request", asks(text))
        assert (flag.kind, flag.score) == ("PERSON", 900)
        assert [text[mark.start : mark.end] for mark in flag.marks] == ["Samantha Warren-Holt", "Özdemir"]
