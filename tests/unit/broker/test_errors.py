"""The tree that is drawn is the tree that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import errors
from headworks.client import errors as client_errors

ROOT = Path(__file__).parents[3]
_BRANCH = re.compile(r"^(?P<stem>[ │]*[├└]── )(?P<name>\w+)", re.MULTILINE)
_STEP = 4


def drawn(text: str, root: str) -> set[tuple[str, str]]:
    """Each error and what it is one of."""
    above = [root]
    found = set()
    for branch in _BRANCH.finditer(text):
        depth = len(branch["stem"]) // _STEP - 1
        del above[depth:]
        found.add((branch["name"], above[-1]))
        above.append(branch["name"])
    return found


def defined() -> Iterator[tuple[str, str]]:
    """Each public class of the packages, and the first that it is made from."""
    for package in ("schemas", "broker", "workers", "headworks"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and node.bases and not node.name.startswith("_"):
                    yield node.name, ast.unparse(node.bases[0])


def errors_under(roots: set[str]) -> set[tuple[str, str]]:
    every = set(defined())
    found: set[tuple[str, str]] = set()
    while new := {pair for pair in every if pair[1] in roots | {name for name, _ in found}} - found:
        found |= new
    return found


def test_every_error_is_drawn_where_it_stands() -> None:
    client = errors_under({"ClientError"})
    assert drawn(errors.__doc__ or "", "HeadworksError") == errors_under({"HeadworksError"}) - client
    shown = drawn(client_errors.__doc__ or "", "HeadworksError")
    assert shown == client | {("ClientError", "HeadworksError")}


@pytest.mark.parametrize("module", [errors, client_errors])
def test_codes_are_told_apart(module: object) -> None:
    codes = [kind.code for kind in vars(module).values() if isinstance(kind, type) and hasattr(kind, "code")]
    assert len(set(codes)) == len(codes)
