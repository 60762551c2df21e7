import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.policy.dlp.customers import PHRASES_MAX, Dictionary, hint_of, utf8
from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.finder import Finder
from tests.unit.broker.policy.dlp.marked import unmarked


@pytest.mark.parametrize(
    "marked",
    [
        "the «CODENAME:Blue Falcon», «CODENAME:BLUE\n falcon»: no bluefalcon, no blue falcons",
        "«CODENAME:über» alles, nicht drüber",
        "新«CODENAME:東京»計画",
        "😀 «CODENAME:Blue Falcon Two» 😀",
        "«CODENAME:c++»?",
    ],
)
def test_a_dictionary_finds_whole_words_in_any_case(marked: str) -> None:
    finder = Finder([], dictionaries={"CODENAME": ["blue falcon", "Blue  Falcon Two", "Über", "東京", "C++"]})
    text, spans = unmarked(marked)
    assert finder.find(text) == spans


@pytest.mark.parametrize(
    "marked",
    [
        "«W:ACME» Company, «W:acme co»: no ACMEs",
        "xa «W:a a», ba «W:a\na» a",
        "«W:東京»«W:acme», «W:c++»«W:c++»d",
        "«W:acme»«W:東京»都 is",
    ],
)
def test_no_phrase_hides_another(marked: str) -> None:
    finder = Finder([], dictionaries={"W": ["acme", "acme co", "a a", "東京", "東京都 i", "c++"]})
    text, spans = unmarked(marked)
    assert finder.find(text) == spans


@example(words=["+", "b"], text="+B b+b++b")
@example(words=["京", "+", "b a"], text="京b a+b  a京+b a")
@given(
    words=st.lists(st.text("ab é京+ ", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=4),
    text=st.text("abAB é京+ \n", max_size=30),
)
def test_a_dictionary_finds_some_word_wherever_one_stands_whole(words: list[str], text: str) -> None:
    def goes_on(edge: int) -> bool:
        around = text[edge - 1 : edge + 1] if 0 < edge < len(text) else ""
        return len(around) == 2 and all(each.isalnum() and each != "京" for each in around)

    wanted = {" ".join(word.casefold().split()) for word in words}
    stands = [
        (start, end)
        for start in range(len(text))
        for end in range(start + 1, len(text) + 1)
        if text[start:end].strip() == text[start:end]
        and " ".join(text[start:end].casefold().split()) in wanted
        and not (goes_on(start) or goes_on(end))
    ]
    found = [(span.start, span.end) for span in Finder([], dictionaries={"W": words}).find(text)]
    assert set(found) <= set(stands)
    assert all(any(start < end2 and start2 < end for start2, end2 in found) for start, end in stands)


def test_a_pattern_is_found_at_its_place_in_any_script() -> None:
    finder = Finder([], patterns={"EMPLOYEE": r"\bE-[0-9]{6}\b"})
    text, spans = unmarked("é中😀 «EMPLOYEE:E-123456», E-1234567, \ud800 «EMPLOYEE:E-654321»")
    assert finder.find(text) == spans


def test_a_match_across_the_edge_of_a_window_is_found_whole() -> None:
    finder = Finder([], patterns={"RUN": "ab+a"})
    for before in (4_090, 4_095, 4_096, 8_191):
        text = "x" * before + "a" + "b" * 3_000 + "a"
        assert [(span.start, span.end) for span in finder.find(text)] == [(before, len(text))]


@pytest.mark.parametrize(
    "source", ["(", r"(?=a)", r"(a)\1", "", "a*", r"\b", "x|$", "a" * 2_001, "(((a{50}){50}){50})"]
)
def test_a_pattern_that_cannot_be_used_is_refused_by_name(source: str) -> None:
    with pytest.raises(DlpRulesInvalid, match="OWN"):
        Finder([], patterns={"OWN": source})


@pytest.mark.parametrize("name", ["", "a b", "EMAIL", "ü", "A" * 65, "1A"])
def test_a_name_that_is_no_type_is_refused(name: str) -> None:
    with pytest.raises(DlpRulesInvalid):
        Finder([], patterns={name: "a"})


@pytest.mark.parametrize("phrases", [[], ["", "a"], ["a" * 201], [str(n) for n in range(PHRASES_MAX + 1)]])
def test_a_dictionary_out_of_bounds_is_refused(phrases: list[str]) -> None:
    with pytest.raises(DlpRulesInvalid, match="OWN"):
        Finder([], dictionaries={"OWN": phrases})


def test_a_dictionary_and_a_pattern_are_named_differently() -> None:
    with pytest.raises(DlpRulesInvalid, match="OWN"):
        Finder([], dictionaries={"OWN": ["a"]}, patterns={"OWN": "a"})


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (r"\bSEC-[0-9]{4}\b", b"SEC-"),
        ("E-[0-9]", b"E-"),
        ("ab?c", b"a"),
        ("a{2}", b""),
        ("(ab)", b""),
        ("(?i)ab", b""),
        ("ab|c", b""),
        ("a[|]", b""),
        (r"\Babc", b""),
    ],
)
def test_what_a_pattern_begins_with_is_looked_for_first(source: str, hint: bytes) -> None:
    assert hint_of(source) == hint


@pytest.mark.parametrize(
    "text", ["acme", "ACME", "acme corp", "\u017fatu\u017f", "SATUS", "\u212aey", "Key", "é acme"]
)
def test_small_letters_hide_no_word(text: str) -> None:
    words = ["acme", "acme corp", "satus", "key"]
    few, many = (Dictionary("OWN", [*words, *(f"other {n}" for n in range(more))]) for more in (0, 50))
    assert few.hints
    assert not many.hints
    assert list(few.find(utf8(text))) == list(many.find(utf8(text))) != []
