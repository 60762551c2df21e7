"""The chain finds every change, loss, swap and insertion."""

import hashlib
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.chain import GENESIS, Link, canonical, link, verify

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
ENTRIES = st.dictionaries(st.text(max_size=6), SCALARS | st.lists(SCALARS, max_size=3), max_size=5)
CHAINS = st.lists(ENTRIES, min_size=1, max_size=8)


def _chained(entries: list[dict[str, Any]], start: int = 0, head: str = GENESIS) -> list[Link]:
    links = []
    for position, entry in enumerate(entries, start):
        head = link(head, canonical(entry))
        links.append(Link(position, entry, head))
    return links


def _renumbered(links: list[Link]) -> list[Link]:
    return [item._replace(position=position) for position, item in enumerate(links)]


def test_the_bytes_are_these() -> None:
    assert (
        canonical({"b": [1, None], "a": {"d": "é", "c": True}})
        == '{"a":{"c":true,"d":"é"},"b":[1,null]}'.encode()
    )
    assert link(GENESIS, b"{}") == hashlib.sha256(b"0" * 64 + b"{}").hexdigest()
    assert verify([]) is None


@given(CHAINS)
def test_a_chain_holds(entries: list[dict[str, Any]]) -> None:
    assert verify(_chained(entries)) is None


@given(CHAINS)
def test_it_holds_when_read_back_from_json_in_any_order_of_keys(entries: list[dict[str, Any]]) -> None:
    stored = [
        item._replace(entry=dict(reversed(orjson.loads(canonical(item.entry)).items())))
        for item in _chained(entries)
    ]
    assert verify(stored) is None


@given(CHAINS, st.data())
def test_it_can_be_verified_in_parts(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    links = _chained(entries)
    cut = data.draw(st.integers(1, len(links)))
    assert verify(links[:cut]) is None
    assert verify(links[cut:], cut, links[cut - 1].hash) is None


@given(CHAINS, st.data())
def test_a_changed_entry_is_found_at_its_place(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    links = _chained(entries)
    at = data.draw(st.integers(0, len(links) - 1))
    other = data.draw(ENTRIES.filter(lambda entry: canonical(entry) != canonical(links[at].entry)))
    links[at] = links[at]._replace(entry=other)
    assert verify(links) == at


@given(CHAINS, st.data())
def test_a_changed_entry_with_a_hash_to_match_is_found_at_the_next(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    links = _chained([*entries, {}])
    at = data.draw(st.integers(0, len(links) - 2))
    other = data.draw(ENTRIES.filter(lambda entry: canonical(entry) != canonical(links[at].entry)))
    before = links[at - 1].hash if at else GENESIS
    links[at] = Link(at, other, link(before, canonical(other)))
    assert verify(links) == at + 1


@given(CHAINS, st.data())
def test_a_lost_entry_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    links = _chained([*entries, {}])
    at = data.draw(st.integers(0, len(links) - 2))
    del links[at]
    assert verify(links) == at
    assert verify(_renumbered(links)) == at


@given(CHAINS, st.data())
def test_an_added_entry_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    links = _chained(entries)
    at = data.draw(st.integers(0, len(links) - 1))
    links.insert(at, links[at])
    assert verify(links) == at + 1
    assert verify(_renumbered(links)) == at + 1


@given(CHAINS, st.data())
def test_a_swap_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    links = _chained([*entries, {}])
    one, two = sorted(data.draw(st.sets(st.integers(0, len(links) - 1), min_size=2, max_size=2)))
    links[one], links[two] = links[two], links[one]
    assert verify(links) == one
    assert verify(_renumbered(links)) == one
