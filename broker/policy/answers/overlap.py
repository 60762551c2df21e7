"""How much of a system prompt an answer repeats, and whether it holds the canary that was put there.

Texts are compared as their words, in any case and spelling, so that neither layout nor punctuation hides a
copy. Of scripts without spaces each character counts as a word.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from broker.policy.views.fold import fold

RUN_MIN: Final = 5
"""Words in a row that are compared; shorter runs are everybody's."""

_WORD: Final = re.compile(
    "[\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
    "|[^\\W_\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_CANARY_DOMAIN: Final = b"headworks.canary.1 "
_CANARY_DIGITS: Final = 16

Run = tuple[str, ...]


class Prompt:
    """The system prompts of one job. Time and memory: linear in their length."""

    def __init__(self, texts: Iterable[str]) -> None:
        each = [words(text) for text in texts]
        self.words_longest = max(map(len, each), default=0)
        self._runs = {run for prompt in each for run in _runs(prompt)}

    def overlap(self, text: str) -> int:
        """Words in the longest stretch of `text` whose every `RUN_MIN` words in a row stand in a prompt too.
        0 where no such run does. Time: linear in the length of `text`.
        """
        if not self._runs:
            return 0
        longest = streak = 0
        for run in _runs(words(text)):
            streak = streak + 1 if run in self._runs else 0
            longest = max(longest, streak)
        return longest + RUN_MIN - 1 if longest else 0


def words(text: str) -> list[str]:
    return _WORD.findall(fold(text).casefold())


def canary(value_sha256: str) -> str:
    """The token of a job whose value has this digest, in hexadecimal: nobody can have put it in the value."""
    return sha256(_CANARY_DOMAIN + value_sha256.encode()).hexdigest()[:_CANARY_DIGITS]


def holds_canary(text: str, token: str) -> bool:
    """Also where punctuation, spaces, or characters that nobody sees part its digits."""
    return token in "".join(words(text))


def _runs(sequence: Sequence[str]) -> Iterable[Run]:
    return zip(*(sequence[start:] for start in range(RUN_MIN)), strict=False)
