"""What the engine asks of resources that have few places, or at times none: the seam to who counts them."""

from collections.abc import Callable, Hashable
from typing import Protocol


class Places(Protocol):
    """A record that takes a place at a resource is handed on with it, and holds it for as long as its slot.

    Whoever counts the places shares them between lanes; the lane says whose record takes its place.
    """

    def enter(self, resource: Hashable, lane: str, granted: Callable[[], bool]) -> bool:
        """Take a place for the lane. Where there is none for it, the lane stands in line from then on: each
        place that is taken for it later is told by `granted`, never from within this call, until that returns
        False or the lane withdraws.
        """
        ...

    def withdraw(self, resource: Hashable, lane: str) -> None:
        """The lane stands in line no more. Does nothing where it did not."""
        ...

    def leave(self, resource: Hashable, lane: str) -> None:
        """Give a place back that was taken for the lane."""
        ...
