"""Writes the JSON Schema and AsyncAPI documents of what travels: `python -m schemas.generate [--check]`.

With `--check` nothing is written; documents that are missing, stale or left over are named, and make the exit
status 1.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from schemas.asyncapi import asyncapi
from schemas.base import Record
from schemas.bodies import ChatBody, EmbeddingsBody
from schemas.dead_letter import DeadLetter
from schemas.envelope import Envelope
from schemas.notice import Notice, ReviewNotice
from schemas.reply import Reply
from schemas.state import State

DIRECTORY: Final = Path(__file__).parent.parent / "docs" / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "envelope": Envelope,
    "chat-completions": ChatBody,
    "embeddings": EmbeddingsBody,
    "reply": Reply,
    "state": State,
    "dead-letter": DeadLetter,
    "notice": Notice,
    "review-notice": ReviewNotice,
}


class Untitled(GenerateJsonSchema):
    """Without a title for each field, which would say its name again."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def documents() -> dict[str, str]:
    """File name and text of each document."""
    texts = {f"{name}.schema.json": _text(schema_of(model)) for name, model in MODELS.items()}
    return texts | {"asyncapi.json": _text(asyncapi(component_schemas()))}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """With what it refers to under `$defs`."""
    schema = model.model_json_schema(schema_generator=Untitled)
    describe({model.__name__: schema, **schema.get("$defs", {})})
    return {"$schema": DIALECT, **schema}


def component_schemas() -> dict[str, Any]:
    """All models and what they refer to, by the names of their classes."""
    _, bundle = models_json_schema(
        [(model, "validation") for model in MODELS.values()],
        ref_template="#/components/schemas/{model}",
        schema_generator=Untitled,
    )
    schemas: dict[str, Any] = bundle["$defs"]
    describe(schemas)
    return schemas


def describe(schemas: Mapping[str, dict[str, Any]]) -> None:
    """Give each property the note that stands under its field in the source."""
    models = {model.__name__: model for model in _models(Record)}
    for name in schemas.keys() & models.keys():
        for field, note in _notes(models[name]):
            schemas[name]["properties"][field].setdefault("description", note)


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("schemas."):
            yield model
            yield from _models(model)


def _notes(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    for field, note in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
        match field, note:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                yield model.model_fields[name].alias or name, inspect.cleandoc(text)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale(directory: Path) -> list[str]:
    """The names of documents that are missing, differ, or should not be there."""
    wanted = documents()
    there = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    wanted = documents()
    for path in directory.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    if arguments == []:
        write(DIRECTORY)
        return 0
    if arguments != ["--check"]:
        sys.stderr.write("usage: python -m schemas.generate [--check]\n")
        return 2
    names = stale(DIRECTORY)
    for name in names:
        sys.stderr.write(f"{DIRECTORY / name} is stale: run `python -m schemas.generate`\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
