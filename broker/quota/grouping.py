"""A batch of requests of many organizations, taken apart for the scripts, of which a run serves one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

BATCH_MAX = 1_000
"""Requests in one run of a script, which holds up everybody else on that Redis meanwhile."""


class _OfOrganization(Protocol):
    @property
    def organization_id(self) -> int: ...


Item = TypeVar("Item", bound=_OfOrganization)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Group(Generic[Item]):
    organization_id: int
    places: list[int]
    """Of the items in the batch that the caller gave."""
    items: list[Item]


def by_organization(items: Sequence[Item]) -> list[Group[Item]]:
    """At most BATCH_MAX items a group, in the order given."""
    groups: list[Group[Item]] = []
    latest: dict[int, Group[Item]] = {}
    for place, item in enumerate(items):
        group = latest.get(item.organization_id)
        if group is None or len(group.items) == BATCH_MAX:
            group = latest[item.organization_id] = Group(item.organization_id, [], [])
            groups.append(group)
        group.places.append(place)
        group.items.append(item)
    return groups


def in_order(groups: Sequence[Group[Any]], found: Iterable[Sequence[T]]) -> list[T]:
    """What was found for each item of the groups, in the order in which the items were given."""
    by_place = {
        place: one
        for group, some in zip(groups, found, strict=True)
        for place, one in zip(group.places, some, strict=True)
    }
    return [by_place[place] for place in range(len(by_place))]
