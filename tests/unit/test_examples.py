"""examples/jobs.jsonl is what examples/README.md says it is, and is built without chance."""

import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from genai_prices import data_snapshot

from broker.settings import AdmitSettings
from examples.build_jobs import (
    PARTS,
    PERSONAL_FILE,
    PERSONAL_ROWS_A_KIND,
    PROMPT_FILES,
    TooFewRows,
    broken_lines,
    build,
)
from headworks.batch.lines import Line
from headworks.batch.requests import Malformed, parse
from schemas.requests import RequestRefused, validate_request

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
MODELS = {
    "gpt-4o-mini": "openai",
    "gpt-4.1-mini": "openai",
    "gpt-4o": "openai",
    "mistral-small-latest": "mistral",
    "text-embedding-3-small": "openai",
}
PERSONAL_KINDS: tuple[list[str], ...] = (["EMAIL"], ["PERSON", "PHONE"], ["IBAN"])


def rows_of(table_head: str) -> list[list[str]]:
    """The cells of the README's table that begins so, without its two head rows."""
    table = README[README.index(table_head) :].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def example_lines() -> list[bytes]:
    return (EXAMPLES / "jobs.jsonl").read_bytes().splitlines()


def code_of(number: int, raw: bytes, seen: set[str]) -> str | None:
    """What refuses the line, by the rules that stand before policy and quota; None where nothing does."""
    request = parse(Line(number, raw))
    assert request is not None
    if isinstance(request, Malformed):
        return request.fault
    if request.custom_id in seen:
        return "duplicate_custom_id"
    seen.add(request.custom_id)
    if len(json.dumps(request.body)) > AdmitSettings().request_bytes_max:
        return "body_too_large"
    try:
        model = validate_request(request.endpoint, request.body)
    except RequestRefused as refused:
        return refused.code
    return None if model in MODELS else "unknown_model"


def good_requests() -> list[dict[str, Any]]:
    broken = {int(row[0]) for row in rows_of("| line |")}
    return [json.loads(raw) for number, raw in enumerate(example_lines(), 1) if number not in broken]


def test_exactly_the_lines_that_the_note_lists_are_broken() -> None:
    seen: set[str] = set()
    found = {number: code_of(number, raw, seen) for number, raw in enumerate(example_lines(), 1)}
    listed = {int(line): code.strip("`") for line, _, _, code in rows_of("| line |")}
    assert {number: code for number, code in found.items() if code} == listed


def test_the_note_names_the_file_and_its_size() -> None:
    data = (EXAMPLES / "jobs.jsonl").read_bytes()
    assert f"`{hashlib.sha256(data).hexdigest()}`" in README
    assert f"holds {len(example_lines())} lines" in README
    assert len(data) < 1_000_000


def test_the_note_names_every_source_and_how_many_lines_it_gave() -> None:
    wanted: Counter[str] = Counter()
    for part in PARTS:
        wanted[part.source] += part.count
    wanted["personal data"] = sum(one["custom_id"].startswith("ticket-triage-") for one in good_requests())
    wanted["broken lines"] = len(rows_of("| line |"))
    listed = {source.strip("`"): int(count) for source, count, _, _ in rows_of("| source |")}
    assert listed == wanted
    assert sum(listed.values()) == len(example_lines())
    assert f"{sum(part.count for part in PARTS if part.attack)} try to inject" in README
    assert f"{wanted['personal data']} carry made-up personal data" in README


def test_every_licence_permits_redistribution() -> None:
    licences = {re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", licence) for _, _, _, licence in rows_of("| source |")}
    assert licences == {"Apache-2.0", "MIT", "CC0-1.0", "CC-BY-4.0"}


def test_all_models_are_used_and_are_known_to_the_price_data() -> None:
    assert {one["body"]["model"] for one in good_requests()} == set(MODELS)
    for model, provider in MODELS.items():
        assert data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)


def test_jobs_carry_tags_and_mostly_a_limit() -> None:
    requests = good_requests()
    assert all(one["body"]["metadata"].keys() == {"department", "feature", "user"} for one in requests)
    chats = [one["body"] for one in requests if one["url"] == "/v1/chat/completions"]
    limited = [body for body in chats if body.keys() & {"max_tokens", "max_completion_tokens"}]
    assert 0.8 * len(chats) < len(limited) < len(chats)


def test_prompts_are_short() -> None:
    assert all(len(json.dumps(one, ensure_ascii=False).encode()) < 3000 for one in good_requests())


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    """Rows for every part, some to spare, and with them rows that must stay out."""
    write_collections(tmp_path, seed=1)
    return tmp_path


def write_collections(directory: Path, seed: int) -> None:
    prompts = [
        {"text": text, "label": int(part.attack), "category": category, "source": part.source}
        for number, part in enumerate(PARTS)
        for category in [next(iter(sorted(part.categories)), "general")]
        for text in [
            *(f"prompt {number}.{turn}" for turn in range(part.count + 3)),
            f"unfit {number}: see https://example.com",
            f"unfit {number}: " + "long " * 1000,
            f"unfit {number}: {'0123456789abcdef' * 2}",
            f"unfit {number}: write to ann@somewhere.org",
        ]
    ]
    prompts.append({"text": "unfit: other source", "label": 0, "category": "general", "source": "elsewhere"})
    personal: list[dict[str, Any]] = [
        {"text": text, "spans": [{"start": 0, "end": 1, "type": kind} for kind in kinds]}
        for kinds in PERSONAL_KINDS
        for text in (f"personal {kinds} {turn}" for turn in range(PERSONAL_ROWS_A_KIND + 3))
    ]
    personal.append({"text": "unfit: a secret", "spans": [{"start": 0, "end": 1, "type": "SECRET"}]})
    personal.append({"text": "unfit: nothing personal", "spans": []})
    order = random.Random(seed)
    order.shuffle(prompts)
    order.shuffle(personal)
    half = len(prompts) // 2
    for name, rows in zip(
        (*PROMPT_FILES, PERSONAL_FILE), (prompts[:half], prompts[half:], personal), strict=True
    ):
        (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_order_of_the_rows_changes_nothing(collections: Path) -> None:
    first = build(collections)
    write_collections(collections, seed=2)
    assert build(collections) == first


def test_what_is_built_has_the_lines_asked_for_and_no_others(collections: Path) -> None:
    data, table = build(collections)
    lines = data.splitlines()
    wanted = sum(part.count for part in PARTS) + len(PERSONAL_KINDS) * PERSONAL_ROWS_A_KIND
    assert len(lines) == wanted + len(broken_lines("x"))
    assert b"unfit" not in data
    seen: set[str] = set()
    codes = {number: code_of(number, raw, seen) for number, raw in enumerate(lines, 1)}
    listed = dict(re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", table, re.MULTILINE))
    assert {str(number): code for number, code in codes.items() if code} == listed


def test_a_source_that_has_too_little_is_named(collections: Path) -> None:
    (collections / PERSONAL_FILE).write_text(
        '{"text": "one", "spans": [{"start": 0, "end": 1, "type": "IBAN"}]}\n'
    )
    with pytest.raises(TooFewRows, match="IBAN: 1 rows fit, 2 are wanted"):
        build(collections)


def test_the_script_writes_the_file_and_prints_the_table(collections: Path, tmp_path: Path) -> None:
    output = tmp_path / "jobs.jsonl"
    command = [sys.executable, str(EXAMPLES / "build_jobs.py"), str(collections), "--output", str(output)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    data, table = build(collections)
    assert output.read_bytes() == data
    assert printed == f"{table}\n\nSHA-256 {hashlib.sha256(data).hexdigest()}\n"
