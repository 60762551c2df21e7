"""The audit chains: one a partition of `outcomes.*`, each append under that partition's lock."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from broker.audit import chain
from broker.store.keys import RunKey
from broker.store.positions import Place, Position
from broker.store.settlement_rows import Settlement, entry


def extend_chains(
    seen: Mapping[Place, Position],
    batch: Sequence[Settlement],
    won: Mapping[RunKey, Settlement],
    noted: Collection[Settlement],
) -> tuple[dict[Place, Position], list[Mapping[str, Any]]]:
    """An entry for every record of `batch` that ended its run or is among `noted`, in its order.

    Returns the positions with their chains' new heads, and the rows of the entries.
    """
    chains = {place: _Chain(position) for place, position in seen.items()}
    rows: list[Mapping[str, Any]] = []
    others = {item.coordinate for item in noted}
    for item in batch:
        is_terminal = won.get(item.key) is item
        if is_terminal or item.coordinate in others:
            rows.append(chains[item.place].append(chain.canonical(entry(item, is_terminal=is_terminal))))
    return {place: each.position() for place, each in chains.items()}, rows


class _Chain:
    def __init__(self, start: Position) -> None:
        self._start = start
        self._head = start.chain_head
        self._length = start.chain_length

    def append(self, canonical: bytes) -> Mapping[str, Any]:
        """The row of the entry."""
        self._head = chain.link(self._head, canonical)
        row = {
            "topic": self._start.topic,
            "partition": self._start.partition,
            "position": self._length,
            "entry": orjson.Fragment(canonical),
            "hash": self._head,
        }
        self._length += 1
        return row

    def position(self) -> Position:
        return self._start._replace(chain_length=self._length, chain_head=self._head)
