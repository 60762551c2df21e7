"""What the documents name is there: commands and options, settings, files, links, metrics, codes, tables."""

import ast
import importlib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import dropwhile, groupby, takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from sqlalchemy import create_engine, text

from broker import errors
from broker.settings import DetectorSettings, ProviderTarget, Settings
from broker.store.tables.base import metadata
from broker.telemetry.metrics import Metrics
from headworks.cli.commands import load
from schemas.envelope import Envelope

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "examples" / "README.md"])
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]
CODE = [
    *(path for folder in ("broker", "headworks", "tests/services") for path in (ROOT / folder).rglob("*.py")),
    ROOT / "docker-compose.yml",
]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
_PATH = re.compile(
    r"(?:schemas|broker|workers|headworks|migrations|config|docs|tests|examples|deploy)/[\w./-]*"
)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def fences(name: str, *languages: str) -> list[str]:
    found = _FENCE.finditer(read(name))
    return [fence["body"] for fence in found if fence["language"] in languages]


def spans(name: str) -> list[str]:
    """Code within sentences and tables."""
    return _CODE_SPAN.findall(_FENCE.sub("", read(name)))


def shell_commands(name: str) -> Iterator[list[str]]:
    """Every command of the shell blocks, words apart, without assignments, redirections and comments."""
    for block in fences(name, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
            lexer.whitespace_split = True
            for is_operator, words in groupby(lexer, lambda word: word[0] in ";&|()"):
                rest = () if is_operator else dropwhile(_prepares, words)
                command = list(takewhile(lambda word: not word.startswith(">"), rest))
                if command:
                    yield command


def _prepares(word: str) -> bool:
    return word == "export" or _ASSIGNMENT.fullmatch(word) is not None


def found_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words after `headworks` name, and its own arguments."""
    command, rest = load(words[0]), words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def parse(words: list[str]) -> None:
    """Fails as the command itself would on these arguments; runs nothing."""
    command, arguments = found_command(words)
    command.make_context(words[0], list(arguments))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HEADWORKS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_shell_blocks_can_be_given(name: str) -> None:
    for words in shell_commands(name):
        match words:
            case ["headworks", *rest]:
                parse(rest)
            case ["docker", "compose", "exec", service, "headworks", *rest]:
                assert service in SERVICES
                parse(rest)
            case ["make", *targets]:
                assert {target for target in targets if "=" not in target} <= TARGETS
            case _:
                continue


@pytest.mark.parametrize("name", [*NAMES, "config/headworks.toml", "docker-compose.yml"])
def test_commands_in_sentences_are_there(name: str) -> None:
    for span in spans(name):
        if re.match(r"make [a-z]", span):
            assert span.split()[1] in TARGETS, span
        if re.match(r"headworks [a-z]", span):
            command, rest = found_command(span.split()[1:])
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= known, span


def test_the_blocks_are_found_at_all() -> None:
    given = [words for words in shell_commands("README.md") if words[0] == "headworks"]
    assert ["headworks", "db", "upgrade"] in given
    assert ["headworks", "keys", "generate-secret"] in given


def test_a_command_that_is_not_there_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["topics", "apply", "--shrink"])
    with pytest.raises(KeyError):
        parse(["policy", "apply"])


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    for link in _LINK.finditer(_FENCE.sub("", read(name))):
        path, _, anchor = link["target"].partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), link["target"]
        if anchor:
            assert anchor in set(map(_anchor, _HEADING.findall(target.read_text()))), link["target"]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", NAMES)
def test_files_named_are_there(name: str) -> None:
    for span in spans(name):
        if _PATH.fullmatch(span):
            assert (ROOT / span).exists(), span


def is_field(path: list[str], model: type[BaseModel] = Settings) -> bool:
    """Whether a model has a field of that path; a provider and a detector have any name."""
    head, *rest = path
    named: dict[str, type[BaseModel]] = {"providers": ProviderTarget, "detectors": DetectorSettings}
    if head in named and len(rest) > 1:
        return is_field(rest[1:], named[head])
    field = model.model_fields.get(head)
    if field is None or not rest:
        return field is not None
    inner = field.annotation
    return isinstance(inner, type) and issubclass(inner, BaseModel) and is_field(rest, inner)


@pytest.mark.parametrize("name", [*NAMES, "config/headworks.toml", "docker-compose.yml"])
def test_settings_named_are_there(name: str) -> None:
    sections = "|".join(Settings.model_fields)
    for path in re.findall(rf"`((?:{sections})\.[a-z_.]+)(?: = [^`]*)?`", read(name)):
        assert is_field(path.split(".")) or is_field(path.split("."), Envelope), path


@pytest.mark.parametrize("name", [*NAMES, "config/headworks.toml", "docker-compose.yml"])
def test_variables_named_are_there(name: str) -> None:
    others = "\n".join(path.read_text() for path in CODE)
    for variable in set(re.findall(r"\bHEADWORKS_[A-Z][A-Z_]*[A-Z]\b", read(name))):
        path = variable.removeprefix("HEADWORKS_").lower().split("__")
        assert is_field(path) or variable in others, variable


@pytest.mark.parametrize("name", NAMES)
def test_code_shown_is_sound(name: str) -> None:
    for block in fences(name, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
    for block in fences(name, "json"):
        json.loads(block)
    for block in fences(name, "toml"):
        Settings(**tomllib.loads(block))


@pytest.mark.parametrize("name", NAMES)
def test_queries_shown_can_be_asked(name: str) -> None:
    queries = [words[-1] for words in shell_commands(name) if words[0] == "psql"]
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for query in queries:
            connection.execute(text(query))
    engine.dispose()


@pytest.mark.parametrize("name", NAMES)
def test_metrics_named_are_there(name: str) -> None:
    shown = {span for span in spans(name) if re.fullmatch(r"headworks_\w+", span)}
    there = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
    }
    assert shown <= there


def codes(kind: type[errors.HeadworksError]) -> set[str]:
    """Of a branch of the tree in broker/errors.py, leaves only."""
    leaves = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return {child.code for child in leaves}


@pytest.mark.parametrize("kind", [errors.ConfigurationError, errors.Unavailable])
def test_every_error_of_an_operator_is_explained(kind: type[errors.HeadworksError]) -> None:
    assert codes(kind) <= set(spans("docs/operations.md"))


def test_every_table_is_explained() -> None:
    assert metadata.tables.keys() <= set(spans("docs/architecture.md"))


def test_decisions_are_numbered_listed_and_in_form() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    index = read("docs/decisions/README.md")
    for number, page in enumerate(pages, 1):
        content = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert content.startswith(f"# {number}. ")
        assert f"]({page.name})" in index
        assert re.findall(r"^\*\*(\w+)\.\*\*", content, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequence",
        ]
