"""Words in a row, whatever stands around them."""

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.answers.overlap import RUN_MIN, Prompt, canary, holds_canary, words

WORDS = st.lists(st.sampled_from([f"w{n}" for n in range(6)]), max_size=40)


def longest_by_hand(prompt: list[str], text: list[str]) -> int:
    """Of the stretches of `text` whose every run stands in `prompt`."""
    runs = {tuple(prompt[at : at + RUN_MIN]) for at in range(len(prompt) - RUN_MIN + 1)}
    best = 0
    for start in range(len(text)):
        for end in range(start + RUN_MIN, len(text) + 1):
            inner = (tuple(text[at : at + RUN_MIN]) for at in range(start, end - RUN_MIN + 1))
            if all(run in runs for run in inner):
                best = max(best, end - start)
    return best


@given(prompt=WORDS, text=WORDS)
def test_the_longest_stretch_is_found(prompt: list[str], text: list[str]) -> None:
    assert Prompt([" ".join(prompt)]).overlap("\n- ".join(text)) == longest_by_hand(prompt, text)


@given(before=WORDS, prompt=WORDS, after=WORDS)
def test_a_copy_is_found_wherever_it_stands(before: list[str], prompt: list[str], after: list[str]) -> None:
    found = Prompt([" ".join(prompt)]).overlap(" ".join([*before, *prompt, *after]).upper())
    assert found >= len(prompt) or len(prompt) < RUN_MIN


@given(texts=st.lists(st.text(max_size=200), max_size=4), text=st.text(max_size=200))
def test_any_texts_are_compared(texts: list[str], text: str) -> None:
    prompt = Prompt(texts)
    assert 0 <= prompt.overlap(text) <= len(words(text))
    assert all(prompt.overlap(each) == len(words(each)) for each in texts if len(words(each)) >= RUN_MIN)


def test_each_value_has_its_own_canary() -> None:
    tokens = {canary(digest * 64) for digest in "0123456789abcdef"}
    assert len(tokens) == 16
    assert all(len(token) == 16 and set(token) <= set("0123456789abcdef") for token in tokens)


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_canary_is_found_in_any_text(before: str, after: str) -> None:
    token = canary("0" * 64)
    assert holds_canary(f"{before} {'-'.join(token)} {after}", token)
