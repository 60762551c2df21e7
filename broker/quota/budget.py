"""The branch of the budget tree that a key's jobs count on: organization, project, key."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from broker.quota.limits import Limits

ORGANIZATION_NODE: Final = "o"


def project_node(project_id: int) -> str:
    """A project's name among the nodes of its organization's tree."""
    return f"p{project_id}"


def key_node(key_id: str) -> str:
    return f"k{key_id}"


def project_of(node: str) -> int | None:
    """None of another node."""
    return int(node.removeprefix("p")) if node.startswith("p") else None


def key_of(node: str) -> str | None:
    return node.removeprefix("k") if node.startswith("k") else None


PackedLevel = tuple[str | int, ...]
"""A node's name, then its caps in the order of `broker.quota.limits.REASONS`."""


@dataclass(frozen=True)
class Budget:
    """Of one key. The same object serves all its jobs until a limit changes."""

    organization_id: int
    project_id: int
    key_id: str
    organization: Limits = field(default_factory=Limits)
    project: Limits = field(default_factory=Limits)
    key: Limits = field(default_factory=Limits)

    @property
    def is_hard(self) -> bool:
        """Whether any level limits what is spent over a day or a month."""
        return any(limits.bounds_spending for limits in (self.organization, self.project, self.key))

    @cached_property
    def packed(self) -> tuple[PackedLevel, PackedLevel, PackedLevel]:
        """As the scripts get it, from the organization down."""
        return (
            (ORGANIZATION_NODE, *self.organization.caps()),
            (project_node(self.project_id), *self.project.caps()),
            (key_node(self.key_id), *self.key.caps()),
        )
