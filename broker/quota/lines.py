"""The lines in which jobs wait for room: one a node of a budget tree that has as many in flight as it may.

A job stands in one line, that of the limit which stopped it; of several that of the highest level. Pure.
"""

from collections.abc import Mapping
from typing import Final

from broker.quota.budget import ORGANIZATION_NODE, key_node, project_node
from broker.quota.counters import NodeOf
from broker.quota.gate import Over
from broker.quota.limits import LEVELS, Level, Reason
from schemas.state import State

CROWDED: Final[Reason] = "jobs_in_flight"

LINE_CODES: Final[Mapping[Level, str]] = {
    level: Over(CROWDED, level, 0, never=False, held=True).code for level in LEVELS
}
"""What a job is parked for that waits for room, by whose limit it is."""

_LEVELS: Final[Mapping[str | None, Level]] = {code: level for level, code in LINE_CODES.items()}


def waits_for_room(parked_for: str | None) -> bool:
    return parked_for in _LEVELS


def is_crowded(over: Over) -> bool:
    """Whether a job that was refused so is to stand in line."""
    return over.reason == CROWDED and not over.never


def line_at(state: State, level: Level) -> str:
    """That of the job's node on this level, by its name in the index of what is parked."""
    nodes = {
        "organization": ORGANIZATION_NODE,
        "project": project_node(state.project_id),
        "key": key_node(state.key_id),
    }
    return str(NodeOf(state.organization_id, nodes[level]))


def line_of(state: State) -> str | None:
    """In which it waits; None where it waits for something else."""
    level = _LEVELS.get(state.parked_for)
    return None if level is None else line_at(state, level)
