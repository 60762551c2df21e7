"""What a reader of the scripts relies on. What they do is tested on the servers that run them."""

import hashlib
import re
from importlib.resources import files

import pytest

from broker.quota.limits import REASONS
from broker.quota.scripts import Script

VERBS = ["reserve", "start", "settle", "correct", "release", "rebuild", "jobs", "counters", "inspect"]
FOLDER = files("broker.quota")


def test_every_script_is_a_verb_or_the_prelude() -> None:
    found = sorted(path.name for path in FOLDER.iterdir() if path.name.endswith(".lua"))
    assert found == sorted(f"{name}.lua" for name in [*VERBS, "prelude"])


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_opens_with_its_name_its_batch_and_its_answer(verb: str) -> None:
    lines = (FOLDER / f"{verb}.lua").read_text("utf-8").splitlines()
    header = "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])
    assert header.startswith(f"-- {verb}: ")
    assert "\n-- batch " in header
    assert "\n-- answers " in header


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_is_known_to_redis_by_the_sha1_of_prelude_and_verb(verb: str) -> None:
    script = Script.load(verb)
    prelude, own = ((FOLDER / f"{name}.lua").read_text("utf-8") for name in ("prelude", verb))
    assert script.source.startswith(prelude)
    assert script.source.endswith(own)
    assert script.sha == hashlib.sha1(script.source.encode()).hexdigest()  # noqa: S324 - Redis names scripts so


def test_the_prelude_names_the_reasons_in_their_order() -> None:
    source = Script.load("reserve").source.replace("\n-- ", " ")
    numbers = re.findall(r"= over\(worst, depth, (\d)|return over\(worst, depth, (\d)", source)
    assert [first or last for first, last in numbers] == [str(each + 1) for each in range(len(REASONS))]
    told = re.search(r"order of the caps: (.*)\.\nlocal function refuse", source)
    assert told is not None
    assert [name.replace("dollars", "nanodollars") for name in told[1].split(", ")] == [
        reason.replace("_per_", " a ").replace("_", " ") for reason in REASONS
    ]
