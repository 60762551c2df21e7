"""Where data stand in a job's texts: read by themselves or many at once, and across those that follow."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp.finder import FOUND_MAX, Finder
from broker.policy.dlp.spans import Kind, Span
from broker.policy.passages import BREAK, EDGE_CHARS
from broker.policy.spotting import TOGETHER_CHARS_MAX, Remembered, spot
from broker.policy.texts import Role, Text, texts

FINDER = Finder([kind for kind in Kind if kind is not Kind.PERSON])
CARD = "4111 1111 1111 1111"


class Counting:
    """How much is read, and how often."""

    reads_apart = False

    def __init__(self, finder: Finder = FINDER) -> None:
        self.finder = finder
        self.chars = self.times = 0

    def every(self, text: str) -> tuple[Span, ...]:
        self.times += 1
        self.chars += len(text)
        return self.finder.every(text)


def said(role: Role, *contents: str) -> list[Text]:
    return [Text(role, ("messages", place, "content"), text) for place, text in enumerate(contents)]


def shown(texts: Iterable[Text], finder: Any = FINDER) -> list[list[tuple[str, str]]]:
    """Of each text what was found in it, and its type."""
    read = list(texts)
    found = spot(read, finder)
    return [[(text.text[s.start : s.end], s.type) for s in found.get(text, ())] for text in read]


def test_each_text_has_its_own_findings() -> None:
    mail = "joe.doe@example.com"
    assert shown(said("user", f"To {mail}.", "nothing", f"{mail}, {CARD}")) == [
        [(mail, "EMAIL")],
        [],
        [(mail, "EMAIL"), (CARD, "CREDIT_CARD")],
    ]


@pytest.mark.parametrize(
    ("contents", "type_"),
    [
        (("Write to joe.doe@exa", "mple.com today."), "EMAIL"),
        (("The card is 4111 1111", "1111 1111."), "CREDIT_CARD"),
        (("4111 ", "1111 ", "1111 ", "1111"), "CREDIT_CARD"),
        (("DE89 3704 0044", " 0532 0130 00"), "IBAN"),
        (("Call +44 20 79", "46 0958"), "PHONE"),
        (("the key sk-proj-9fK2mQ7x", "Lw4TbR8vN1cZ6yHd3"), "SECRET"),
        (("ssn 078-05", "-1121"), "US_SSN"),
        (("x" * 3_000 + " 4111 1111", "1111 1111 " + "y" * 3_000), "CREDIT_CARD"),
    ],
)
def test_what_is_split_over_texts_that_follow_one_another_is_found_in_each(
    contents: tuple[str, ...], type_: str
) -> None:
    found = shown(said("user", *contents))
    assert [{kind for _, kind in each} for each in found] == [{type_}] * len(contents)
    assert all(len(each) == 1 for each in found)


def test_what_a_number_is_may_stand_in_the_text_before() -> None:
    assert shown(said("user", "Please call me at", "4157799194.")) == [[], [("4157799194", "PHONE")]]


def test_turns_of_different_roles_and_texts_to_embed_are_not_read_together() -> None:
    split = ("The card is 4111 1111", "1111 1111.")
    turns = [*said("user", split[0]), Text("assistant", ("messages", 1, "content"), split[1])]
    assert shown(turns) == [[], []]
    assert shown(Text("input", ("input", place), text) for place, text in enumerate(split)) == [[], []]


def test_what_a_text_shows_by_itself_is_not_changed_by_its_neighbors() -> None:
    assert shown(said("user", "xy", "joe@example.com", "m.example.org")) == [
        [],
        [("joe@example.com", "EMAIL")],
        [],
    ]


def test_the_ends_of_long_texts_are_not_taken_for_words() -> None:
    """Seventeen digits would be a card if they were cut."""
    digits = "x" * (EDGE_CHARS - 16) + "41111111111111119" + "y" * 2 * EDGE_CHARS
    assert shown(said("user", digits, "and", digits)) == [[], [], []]


def test_names_are_read() -> None:
    parameters = {"properties": {"joe@example.com": {"enum": [CARD]}}}
    tool = {"type": "function", "function": {"name": "078-05-1121", "parameters": parameters}}
    body = {"model": "m", "messages": [], "tools": [tool]}
    assert shown(texts(body)) == [
        [("078-05-1121", "US_SSN")],
        [("joe@example.com", "EMAIL")],
        [(CARD, "CREDIT_CARD")],
    ]


FRAGMENTS = st.lists(
    st.sampled_from(
        (
            CARD,
            "joe@example.com",
            "call 415-779-9194",
            "order",
            "\n",
            " ",
            "",
            "10.1.2.3",
            "x" * 40,
            "é",
            BREAK,
        )
    ),
    max_size=6,
).map(" ".join)


@given(st.lists(FRAGMENTS, max_size=40))
def test_many_at_once_are_read_as_each_by_itself(contents: list[str]) -> None:
    inputs = [Text("input", ("input", place), text) for place, text in enumerate(contents)]
    found = spot(inputs, FINDER)
    assert [tuple(found.get(text, ())) for text in inputs] == [FINDER.every(text.text) for text in inputs]


@given(st.lists(st.lists(FRAGMENTS, max_size=6), max_size=6))
def test_what_is_remembered_is_what_would_be_found(turns: list[list[str]]) -> None:
    remembered = Remembered()
    for contents in turns:
        conversation = said("user", *contents)
        assert spot(conversation, FINDER, remembered) == spot(conversation, FINDER)


def test_of_a_conversation_only_what_is_new_is_read_again() -> None:
    counting, remembered = Counting(), Remembered()
    roles: list[Role] = ["system", "user", "assistant", "user"]
    turns = [
        Text(role, ("messages", place, "content"), f"turn {place}: to joe@example.com")
        for place, role in enumerate(roles)
    ]
    spot(turns[:3], counting, remembered)
    counting.chars = 0
    found = spot(turns, counting, remembered)
    assert counting.chars == len(turns[-1].text)
    assert [len(found[turn]) for turn in turns] == [1, 1, 1, 1]


def test_a_text_with_very_much_in_it_is_not_remembered() -> None:
    counting, remembered = Counting(), Remembered()
    for _ in range(2):
        spot(said("user", "joe@example.com " * 100), counting, remembered)
    assert counting.times == 2


def test_a_pattern_that_goes_across_a_break_or_asks_for_the_ends_finds_the_same() -> None:
    for pattern in ("(?s)a.*b", "^a", "a$"):
        finder = Finder([], patterns={"OWN": pattern})
        inputs = [Text("input", ("input", place), text) for place, text in enumerate(("xa", "b", "ab", "a"))]
        found = spot(inputs, finder)
        assert [tuple(found.get(text, ())) for text in inputs] == [finder.every(text.text) for text in inputs]


def test_work_grows_as_the_texts_do() -> None:
    """Counted in characters that are read: four times the texts are hardly more than four times the work."""
    work = []
    for number in (2_000, 8_000):
        counting = Counting()
        spot(said("user", *(f"word {place}" for place in range(number))), counting)
        work.append((counting.chars, counting.times))
    (chars, times), (chars_more, times_more) = work
    assert chars_more <= 4.5 * chars
    assert times_more <= 4.5 * times
    assert times_more <= 4 * 8_000 * len("word 9999" + BREAK) / TOGETHER_CHARS_MAX


def test_thousands_of_findings_in_many_texts_are_not_too_many_for_one() -> None:
    counted = spot(said("user", *["joe@example.com ann@example.com"] * (FOUND_MAX // 2 + 1)), FINDER)
    assert sum(map(len, counted.values())) == FOUND_MAX + 2
