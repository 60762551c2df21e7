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
    heads = dict(seen)
    rows: list[Mapping[str, Any]] = []
    others = {item.coordinate for item in noted}
    for item in batch:
        is_terminal = won.get(item.key) is item
        if is_terminal or item.coordinate in others:
            canonical = chain.canonical(entry(item, is_terminal=is_terminal))
            row, heads[item.place] = _linked(heads[item.place], canonical)
            rows.append(row)
    return heads, rows


def _linked(position: Position, canonical: bytes) -> tuple[Mapping[str, Any], Position]:
    head = chain.link(position.chain_head, canonical)
    row = {
        "topic": position.topic,
        "partition": position.partition,
        "position": position.chain_length,
        "entry": orjson.Fragment(canonical),
        "hash": head,
    }
    return row, position._replace(chain_length=position.chain_length + 1, chain_head=head)
