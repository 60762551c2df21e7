"""What the linear model reads beside the rules."""

from dataclasses import replace
from functools import cache
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy.injection import ModelBroken, model, rules
from broker.policy.injection.features import Sum, Weights, sequences
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.model import Model


@cache
def loaded() -> tuple[Model, Lexicon, Weights]:
    learned = model.load()
    _, words = rules.load(learned.words)
    return learned, words, Weights(learned, words)


def _one_by_one(segment: list[str]) -> tuple[Sum, Sum]:
    learned, words, _ = loaded()
    letters = words.letters(words.symbols(words.numbers(segment))).tolist()
    rows = [" ".join(row) for row in sequences([words.names[letter] for letter in letters if letter])]
    return (
        (sum(learned.words.get(word, 0) for word in segment), len(segment)),
        (sum(learned.sequences.get(row, 0) for row in rows), len(rows)),
    )


def _texts() -> st.SearchStrategy[list[str]]:
    learned, words, _ = loaded()
    spoken = [name.strip("'") for row in learned.sequences for name in row.split(" ")]
    known = st.sampled_from([*learned.words, *spoken, *words.names])
    return st.lists(st.one_of(known, known, st.just("."), st.text(max_size=8)), max_size=40)


@given(st.lists(_texts(), min_size=1, max_size=12))
@settings(deadline=None, max_examples=200)
def test_the_sums_of_segments_are_those_of_their_features_one_by_one(segments: list[list[str]]) -> None:
    _, words, weights = loaded()
    numbers = words.numbers([word for segment in segments for word in segment])
    edges = [0, *accumulate(map(len, segments))]
    found = weights.sums(numbers, words.letters(words.symbols(numbers)), edges)
    assert found == [_one_by_one(segment) for segment in segments]


def test_the_model_has_weights_of_both_families() -> None:
    learned, _, _ = loaded()
    assert len(learned.words) > 1_000
    assert len(learned.sequences) > 1_000


def test_a_sequence_of_a_concept_that_is_not_there_breaks_the_model() -> None:
    learned, words, _ = loaded()
    with pytest.raises(ModelBroken, match="no concept"):
        Weights(replace(learned, sequences={"drop prior nosuch": 1}), words)


def test_a_word_that_is_not_known_has_no_number_of_its_own_but_that_of_its_beginning() -> None:
    _, words, _ = loaded()
    assert not np.any(words.numbers(["zzzz", "z" * 100]))
    assert words.numbers(["anweisungsblatt", "zzzz"]).tolist() == [words.numbers(["anweis"])[0], 0]
