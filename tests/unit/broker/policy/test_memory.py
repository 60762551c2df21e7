"""What is remembered of texts: the last ones, and none of the texts themselves."""

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.memory import Memory, digest


def test_the_last_texts_are_remembered_and_asking_for_one_counts() -> None:
    memory = Memory[int](2)
    first, second, third = map(digest, ("first", "second", "third"))
    memory.keep(first, 1)
    memory.keep(second, 2)
    assert memory.of(first) == 1
    memory.keep(third, 3)
    assert [memory.of(key) for key in (first, second, third)] == [1, None, 3]


@given(st.text(st.characters()), st.text(st.characters()))
def test_each_text_has_a_digest_of_its_own(one: str, other: str) -> None:
    assert (digest(one) == digest(other)) is (one == other)
    assert len(digest(one)) == 32


def test_lone_surrogates_differ() -> None:
    assert digest("\ud800") != digest("\udfff")
