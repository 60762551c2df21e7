"""The event loop of every command: uvloop, where there is one."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    import uvloop  # the command line must come up fast

    return uvloop.run(main)
