"""How far the budgets of all organizations are used, as the notifier is told."""

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from broker.identity.directory import Directory
from broker.quota.budget import ORGANIZATION_NODE, key_node, project_node
from broker.quota.counters import NodeOf
from broker.quota.gate import Gate
from broker.quota.limits import Limits
from workers.notifier import Standing

_AT_ONCE: Final = 500
"""Nodes in one round trip: a script holds up everybody else on that Redis."""


class _Bounded(NamedTuple):
    """A node whose spending is limited."""

    organization_id: int
    organization: str
    subject: str
    node: str
    limits: Limits


class Standings:
    def __init__(self, directory: Directory, gate: Gate) -> None:
        self._directory = directory
        self._gate = gate

    async def read(self) -> Sequence[Standing]:
        """Of every node that has a limit over days or months. Raises Unavailable."""
        bounded = iter(self._bounded())
        found: list[Standing] = []
        while chunk := list(islice(bounded, _AT_ONCE)):
            counters = await self._gate.counters([NodeOf(each.organization_id, each.node) for each in chunk])
            found += [
                Standing(each.organization_id, each.organization, each.subject, counted.used(each.limits))
                for each, counted in zip(chunk, counters, strict=True)
            ]
        return found

    def _bounded(self) -> list[_Bounded]:
        """Nodes that a key's jobs can count on; no others are used."""
        organizations, projects = self._directory.organizations, self._directory.projects
        found: dict[tuple[int, str], _Bounded] = {}
        for budget in self._directory.budgets.values():
            owner = organizations[budget.organization_id].name
            for node, subject, limits in (
                (ORGANIZATION_NODE, owner, budget.organization),
                (
                    project_node(budget.project_id),
                    f"{owner}/{projects[budget.project_id].name}",
                    budget.project,
                ),
                (key_node(budget.key_id), f"key {budget.key_id}", budget.key),
            ):
                if limits.bounds_spending:
                    place = budget.organization_id, node
                    found[place] = _Bounded(budget.organization_id, owner, subject, node, limits)
        return list(found.values())
