"""Normal forms of Unicode."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import normal_forms
from broker.normal_forms import normalized

FORMS: list[Literal["NFC", "NFKC", "NFKD"]] = ["NFC", "NFKC", "NFKD"]
MARKS = [chr(code) for code in range(0x110000) if unicodedata.combining(chr(code))]


@pytest.mark.parametrize("form", FORMS)
@given(st.text(st.one_of(st.characters(), st.sampled_from(MARKS), st.sampled_from("aeo한각ｱ")), max_size=30))
def test_a_text_without_long_rows_of_marks_has_the_form_of_the_standard(
    form: Literal["NFC", "NFKC", "NFKD"], text: str
) -> None:
    assert normalized(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", ["\u05b4\u0591", "\u0344\u05b4", "\u0f73", "\u0f81\u0f74", "\u3099\u05b4"])
def test_a_long_row_of_marks_is_put_in_order_by_thirties(
    form: Literal["NFC", "NFKC", "NFKD"], row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row a hundred thousand long the time went with the square."""
    text = "e" + row * 50_000 + "e"
    pieces = []
    given_by_standard = unicodedata.normalize

    def noted(form: Literal["NFC", "NFKC", "NFKD"], piece: str) -> str:
        pieces.append(piece)
        return given_by_standard(form, piece)

    monkeypatch.setattr(unicodedata, "normalize", noted)
    found = normalized(form, text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) == 31
    assert found == "".join([given_by_standard(form, piece) for piece in pieces])


def test_every_character_that_becomes_a_mark_counts_as_one() -> None:
    row = normal_forms._long_row()
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        first = unicodedata.normalize("NFKD", chr(code))[0]
        assert bool(unicodedata.combining(first)) == bool(row.match(chr(code) * 31)), hex(code)
