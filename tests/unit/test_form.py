"""The form of the code that no linter counts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "benchmarks",
    "broker",
    "examples",
    "headworks",
    "migrations",
    "schemas",
    "tests",
    "training",
    "workers",
)
LINES_MAX = 60


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_over_sixty_lines(folder: str) -> None:
    paths = list((ROOT / folder).rglob("*.py"))
    assert paths
    long = {
        f"{path.relative_to(ROOT)}:{found.lineno} {found.name}": lines
        for path in paths
        for found in functions(path)
        if (lines := (found.end_lineno or 0) - found.lineno + 1) > LINES_MAX
    }
    assert long == {}
