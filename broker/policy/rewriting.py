"""A request with other texts in some places."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from broker.policy.texts import Text


@dataclass(slots=True)
class _Change:
    """What becomes of what stands in one place."""

    value: str | None = None
    key: str | None = None
    inside: dict[str | int, "_Change"] = field(default_factory=dict)


def rewritten(request: dict[str, Any], changes: Iterable[tuple[Text, str]]) -> dict[str, Any]:
    """A copy in which other texts stand. What leads to no change is shared with the original. Time is linear
    in the containers that lead to one.
    """
    root = _Change()
    for text, new in changes:
        change = root
        for step in text.path:
            change = change.inside.setdefault(step, _Change())
        if text.is_key:
            change.key = new
        else:
            change.value = new
    copy: dict[str, Any] = _applied(request, root)
    return copy


def _applied(node: Any, change: _Change) -> Any:
    if change.value is not None:
        return change.value
    if isinstance(node, dict):
        return dict(_member(key, child, change.inside.get(key)) for key, child in node.items())
    copy = list(node)
    for place, inner in change.inside.items():
        copy[place] = _applied(copy[place], inner)  # type: ignore[index]  # a list's steps are its places
    return copy


def _member(key: str, child: Any, change: _Change | None) -> tuple[str, Any]:
    if change is None:
        return key, child
    inner = _applied(child, change) if change.value is not None or change.inside else child
    return (key if change.key is None else change.key), inner
