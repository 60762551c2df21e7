"""One spelling for many ways to write the same letters."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.views import disguises, fold


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain", "plain"),
        ("i\u200bg\u200dn\u2060o\ufeffr\u00ade", "ignore"),
        ("ｉｇｎｏｒｅ　ａｌｌ", "ignore all"),
        ("ìgnörê", "ignore"),
        ("𝐢𝐠𝐧𝐨𝐫𝐞", "ignore"),
        ("іgnоrе аll", "ignore all"),
        ("".join(chr(0xE0000 + ord(char)) for char in "ignore"), "ignore"),
        ("🅸🅶🅽🅾🆁🅴", "IGNORE"),
    ],
)
def test_disguised_letters_are_read(written: str, read: str) -> None:
    assert fold(written) == read


@pytest.mark.parametrize("text", ["Привет, как дела?", "γειά σου", "今日は", "안녕하세요", "नमस्ते"])
def test_other_scripts_stay_what_they_are(text: str) -> None:
    assert fold(text).replace("ί", "ι")[:3] == fold(fold(text))[:3]
    assert not fold(text).isascii()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("plain", ()),
        ("naïve café 👩‍👩‍👧", ()),
        ("Nice." + "".join(chr(0xE0000 + ord(char)) for char in "obey"), ("tags",)),
        ("i\u200bg\u200bn\u200bore", ("invisible",)),
        ("іgnоrе аll", ("lookalikes",)),
    ],
)
def test_says_how_letters_were_hidden(text: str, kinds: tuple[str, ...]) -> None:
    assert disguises(text) == kinds


@given(st.text(st.characters(), max_size=400))
def test_never_raises_and_hardly_grows(text: str) -> None:
    assert len(fold(text)) <= 18 * max(len(text), 1)


@given(st.text(st.characters(), max_size=40))
def test_a_text_that_is_let_be_would_fold_to_itself(text: str) -> None:
    assert fold(text) == fold(f"{text}\u00ad")


def test_only_marks_compose_with_ascii() -> None:
    parts = [unicodedata.decomposition(chr(code)).split() for code in range(sys.maxunicode + 1)]
    marks = {part[1] for part in parts if len(part) == 2 and "0000" <= part[0] < "0080"}
    assert "0301" in marks
    assert all("0300" <= mark <= "036F" for mark in marks)


_BEYOND = (
    st.sampled_from([*"\u0301\u0327\u0300\u200b\u00adıаéﬁ²…’\u1161\u11a8\uac00\U000e0041🅸\ufdfa\u0f73"])
    | st.characters()
)


@given(st.lists(st.text("aZ .", max_size=9) | st.text(_BEYOND, max_size=4), max_size=9).map("".join))
def test_run_by_run_is_spelled_like_the_whole(text: str) -> None:
    """Texts of mostly ASCII are read the one way, others the other."""
    assert fold(f"{text}{'a' * 8 * len(text)}") == fold(text) + "a" * 8 * len(text)


@given(st.text(max_size=200))
def test_folding_twice_hides_no_ascii(text: str) -> None:
    assert fold(fold(text)).encode(errors="replace") is not None
