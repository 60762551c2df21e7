import string
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp import addresses, cards, ibans, phones, ssns
from broker.policy.dlp.errors import DlpRulesInvalid, TooMuchFound
from broker.policy.dlp.finder import FOUND_MAX, REGIONS, Finder
from broker.policy.dlp.replacing import redact, restore, tokenize
from broker.policy.dlp.scanning import seen, view
from broker.policy.dlp.spans import Kind, Span, cover, settle, settle_by_type
from tests.unit.broker.policy.dlp.marked import FINDER, FOUND

PIECES = st.sampled_from(
    ["joe@example.com", "+44 20 7946 0958", "4111 1111 1111 1111", "DE89370400440532013000", "123-45-6789",
     "10.1.2.3", "fe80::1", "password: a1b2c3d4", "[EMAIL_1]", "[SECRET_2]", "[", "]", "[[EMAIL_1]", "\ud800",
     "é", "中", "１", "\n", " "]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="0123456789+-.()/ :@abAB[]_EMAIL１\ud800"),
    st.lists(st.one_of(PIECES, st.text(max_size=4))).map("".join),
)
RICH = Finder(
    FOUND,
    dictionaries={"CODENAME": ["Blue Falcon", "Über", "東京", "a"]},
    patterns={"EMPLOYEE": "E-[0-9]{3}", "ANY": "[a-z]+@?"},
)


@given(TEXTS)
def test_spans_are_sorted_disjoint_and_inside_the_text(text: str) -> None:
    last = 0
    for start, end, _ in RICH.find(text):
        assert last <= start < end <= len(text)
        last = end


@given(TEXTS)
def test_what_was_tokenized_is_restored(text: str) -> None:
    assert restore(*tokenize(text, RICH.find(text))) == text


@given(TEXTS)
def test_nothing_that_was_found_is_left(text: str) -> None:
    spans = RICH.find(text)
    pieces = redact(text, spans)
    kept, last = [], 0
    for span in spans:
        kept.append(text[last : span.start])
        last = span.end
    at = 0
    for piece in [*kept, text[last:]]:
        assert pieces.startswith(piece, at)
        at = pieces.find("]", at + len(piece)) + 1


@given(st.one_of(TEXTS, st.text(alphabet="0123456789+-.() :abDESN")))
def test_with_fewer_digits_in_a_row_than_it_takes_nothing_is_found(text: str) -> None:
    shown = view(text)
    for digits_min, find in (
        (addresses.DIGITS_MIN, addresses.find),
        (cards.DIGITS_MIN, cards.find),
        (ibans.DIGITS_MIN, ibans.find),
        (phones.DIGITS_MIN, phones.Phones(REGIONS).find),
        (ssns.DIGITS_MIN, ssns.find),
    ):
        assert shown.may_hold(digits_min) or not list(find(shown))


@given(TEXTS)
def test_a_view_has_a_byte_for_each_character(text: str) -> None:
    shown = view(text)
    assert len(shown.data) == len(text)
    assert shown.digits == sum(byte in string.digits.encode() for byte in shown.data)


@given(TEXTS)
def test_a_view_tells_what_is_as_it_is_seen(text: str) -> None:
    assert not view(text).as_seen or seen(text) is None


OVERLAPPING = st.lists(
    st.builds(
        lambda start, size, type_: Span(start, start + size, type_),
        st.integers(0, 40),
        st.integers(1, 15),
        st.sampled_from([*Kind, "OWN"]),
    )
)


def places(spans: Iterable[Span]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}


@given(OVERLAPPING)
def test_settled_by_type_no_type_hides_another(found: list[Span]) -> None:
    settled = settle_by_type(found)
    assert list(settled) == sorted(settled)
    for type_ in {span.type for span in found}:
        mine = tuple(span for span in settled if span.type == type_)
        assert mine == settle(span for span in found if span.type == type_)


@given(OVERLAPPING, st.sampled_from([*Kind, "OWN"]))
def test_a_cover_leaves_nothing_out_and_puts_what_is_first_first(found: list[Span], first: str) -> None:
    covered = cover(found, lambda type_: type_ == first)
    assert all(one.end <= other.start for one, other in pairwise(covered))
    assert places(covered) == places(found)
    for span in covered:
        within = {each.type for each in found if span.start <= each.start < span.end}
        assert span.type in within
        assert (span.type == first) == (first in within)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 15), st.sampled_from([*Kind, "OWN"]))))
def test_settling_loses_only_what_overlaps_something_as_long(found: list[tuple[int, int, str]]) -> None:
    spans = [Span(start, start + size, type_) for start, size, type_ in found]
    settled = settle(spans)
    assert list(settled) == sorted(settled)
    assert all(one.end <= other.start for one, other in pairwise(settled))
    for span in spans:
        rivals = [each for each in settled if each.start < span.end and span.start < each.end]
        assert any(each.end - each.start >= span.end - span.start for each in rivals)


def test_of_two_types_in_one_place_the_more_specific_stands() -> None:
    assert settle([Span(0, 5, Kind.PHONE), Span(0, 5, Kind.CREDIT_CARD)]) == (Span(0, 5, Kind.CREDIT_CARD),)
    assert settle([Span(0, 5, Kind.PERSON), Span(0, 5, "OWN")]) == (Span(0, 5, "OWN"),)


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200b", "\u2060\u200d", "\ufe0f", "\U000e0041"])
@pytest.mark.parametrize("text", ["joe@example.com", "4111111111111111", "DE89370400440532013000"])
def test_what_nobody_sees_hides_nothing(text: str, unseen: str) -> None:
    finder = Finder([Kind.EMAIL, Kind.CREDIT_CARD, Kind.IBAN])
    for at in range(1, len(text)):
        written = f"Pay {text[:at]}{unseen}{text[at:]} now"
        assert Span(4, 4 + len(text) + len(unseen), finder.find(text)[0].type) in finder.every(written)


@pytest.mark.parametrize("text", [r"joe\u0040example.com", r"M\u00fcller", r"joe@example\u002Ecom"])
def test_escapes_of_json_hide_nothing(text: str) -> None:
    finder = Finder([Kind.EMAIL], dictionaries={"STAFF": ["Müller"]})
    arguments = rf'{{"who":"{text}","icon":"\ud83d\ude00"}}'
    [span] = finder.every(arguments)
    assert arguments[span.start : span.end] == text


@given(st.text(st.sampled_from("ab\\u0041\u200b\u00ad\ufe0f"), max_size=20))
def test_what_is_seen_has_a_place_for_each_character(text: str) -> None:
    found = seen(text)
    if found is not None:
        assert len(found.places) == len(found.text) + 1
        assert found.places[-1] == len(text)
        assert all(one < other for one, other in pairwise(found.places))


def test_what_nobody_sees_parts_words_still() -> None:
    finder = Finder([Kind.CREDIT_CARD])
    assert Span(0, 16, Kind.CREDIT_CARD) in finder.every("4111111111111111\u200b5")


def test_only_the_kinds_asked_for_are_found() -> None:
    text = "joe@example.com at 10.1.2.3"
    assert [span.type for span in Finder([Kind.IP_ADDRESS]).find(text)] == [Kind.IP_ADDRESS]
    assert Finder([]).find(text) == ()


def test_a_flood_is_refused_not_waved_through() -> None:
    with pytest.raises(TooMuchFound, match="EMAIL"):
        FINDER.find("joe@example.com " * (FOUND_MAX + 1))
    assert len(FINDER.find("joe@example.com " * FOUND_MAX)) == FOUND_MAX


def test_beyond_what_is_checked_the_shape_of_a_card_is_enough() -> None:
    spans = FINDER.find("4111 1111 1111 1112\n" * 4_100)
    assert spans
    assert {span.type for span in spans} == {Kind.CREDIT_CARD}


def test_persons_are_for_plug_ins_beside_policy() -> None:
    with pytest.raises(DlpRulesInvalid, match="plug-in"):
        Finder([Kind.PERSON])
