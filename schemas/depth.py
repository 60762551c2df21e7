"""How deeply JSON may nest."""

from typing import Any

_CONTAINERS = frozenset({dict, list})


def depth_within(value: Any, depth_max: int) -> bool:
    """Whether parsed JSON nests no deeper than `depth_max`. A scalar has depth 0, an empty array or object 1.

    Goes level by level and not by recursion, so that no input exhausts the stack.
    """
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(depth_max):
        if not level:
            return True
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) in _CONTAINERS
        ]
    return not level
