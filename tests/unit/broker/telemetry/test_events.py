import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.telemetry.events import WORDINGS, Event

ROOT = Path(__file__).parents[4]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged_in(path: Path) -> Iterator[tuple[int, ast.expr]]:
    """The line and the first argument of every call like `_log.warning(...)`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        logger = ast.unparse(node.func.value).rpartition(".")[2]
        if node.func.attr in LEVELS and logger.lstrip("_") in {"log", "logger"}:
            yield node.lineno, node.args[0]


def sources() -> list[Path]:
    """All but the client: a guest in its user's process, it logs as the standard library does."""
    return sorted(
        path
        for package in ("schemas", "broker", "workers", "headworks")
        for path in (ROOT / package).rglob("*.py")
        if not path.is_relative_to(ROOT / "headworks" / "client")
    )


def test_every_event_has_a_wording() -> None:
    assert WORDINGS.keys() == set(Event)
    assert all(wording[0].isupper() and "\n" not in wording for wording in WORDINGS.values())


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_logged_is_a_listed_event(path: Path) -> None:
    for line, argument in logged_in(path):
        if isinstance(argument, ast.Constant):
            assert argument.value in set(Event), f"{path}:{line}: not in broker.telemetry.events"
        else:
            assert ast.unparse(argument).startswith("Event."), (
                f"{path}:{line}: an event is a name, not a text"
            )
