"""A worker that dies at a named point, as if by kill -9: `python -m tests.crucible.mortal worker dispatch`.

The point is named by the environment and set from outside; what runs is the product as it is.
"""

import functools
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

from broker.quota.self_opening import SelfOpeningGate
from broker.store.cancels import Cancels
from headworks.cli import main
from tests.crucible.plan import Point
from tests.stack import WorkerProcess
from workers.attempts import AttemptBook
from workers.completer import Completer
from workers.dispatch import Dispatch
from workers.settlements import SettlementBook

VARIABLE = "CRUCIBLE_DIES_AT"
"""`<point>:<passes>`: at which time that it is passed."""


class Place(NamedTuple):
    group: int
    """Index into the groups of pools."""
    owner: type
    method: str
    when: Literal["before", "after"]


PLACES: Mapping[Point, Place] = {
    "called_off": Place(0, Cancels, "enter", "after"),
    "held": Place(0, SelfOpeningGate, "reserve", "after"),
    "fetched": Place(0, Dispatch, "handle", "before"),
    "intended": Place(0, AttemptBook, "begin", "after"),
    "answered": Place(0, Completer, "answered", "before"),
    "acknowledged": Place(0, Completer, "answered", "after"),
    "committed": Place(2, SettlementBook, "settle", "after"),
}


class MortalWorker(WorkerProcess):
    module = "tests.crucible.mortal"


def arm(named: str) -> None:
    """Let this process die at the point and pass that `named` gives."""
    name, _, passes = named.partition(":")
    (place,) = (place for point, place in PLACES.items() if point == name)
    deadly = _deadly(getattr(place.owner, place.method), place.when, int(passes))
    setattr(place.owner, place.method, deadly)


def _deadly(
    method: Callable[..., Awaitable[Any]], when: Literal["before", "after"], passes: int
) -> Callable[..., Awaitable[Any]]:
    left = passes

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(method)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            passed()
        result = await method(*args, **kwargs)
        if when == "after":
            passed()
        return result

    return wrapped


if __name__ == "__main__":
    arm(os.environ[VARIABLE])
    main()
