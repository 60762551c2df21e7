"""What is scanned for orders to the model: few texts by themselves, many short ones together."""

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.detections import ALONE_MAX, PASSAGE_CHARS_MAX, passages
from broker.policy.texts import ROLES, Text

texts_of = st.lists(
    st.builds(Text, st.sampled_from(ROLES[:3]), st.just(()), st.text(max_size=40)), max_size=4 * ALONE_MAX
)


def _texts(number: int, chars: int = 5) -> list[Text]:
    return [Text("user", ("messages", place), "x" * chars) for place in range(number)]


def test_few_stay_by_themselves() -> None:
    assert list(passages(_texts(ALONE_MAX))) == [("user", "xxxxx")] * ALONE_MAX
    assert list(passages([])) == []


def test_thousands_of_words_are_few_passages() -> None:
    found = list(passages(_texts(9_000)))
    assert len(found) <= 9_000 * 5 // (PASSAGE_CHARS_MAX - 5) + 1


def test_a_long_one_stays_by_itself() -> None:
    texts = [*_texts(ALONE_MAX), *_texts(1, 5_000), *_texts(1)]
    assert ("user", "x" * 5_000) in list(passages(texts))


@given(texts_of)
def test_every_text_is_in_one_passage_of_its_role_in_its_order(texts: list[Text]) -> None:
    found = list(passages(texts))
    whole = "\n".join(passage for _, passage in found)
    assert whole == "\n".join(text.text for text in texts)
    if len(texts) > ALONE_MAX:
        place = 0
        for role, passage in found:
            assert texts[place].role == role
            length, first = -1, place
            while length < len(passage):
                length += 1 + len(texts[place].text)
                assert texts[place].role == role
                place += 1
            assert place == first + 1 or len(passage) - (place - first - 1) <= PASSAGE_CHARS_MAX
        assert place == len(texts)
