"""A detector to plug into Headworks: names of persons, by common given names and by titles.

It guesses, and knows given names of English, German and French alone. Read it as the smallest plug-in that
does something; a model of named entities goes in the place of `_names`, and nothing else changes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from headworks.detectors import Finding, Mark, Passage

_WORD = r"[^\W\d_a-zß-öø-ÿ][^\W\d_]*(?:['’-][^\W\d_]+)*"
_PARTICLE = r"(?:(?:de|du|la|le|van|von|der|den|zu)[ ]){0,2}"
_NAME = re.compile(
    rf"(?<!\w)(?P<first>{_WORD})(?:[ ](?:{_WORD}|[A-Z]\.)){{0,1}}?[ ]{_PARTICLE}(?P<last>{_WORD})"
)
_TITLED = re.compile(rf"(?<!\w)(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau|Mme|M)\.?[ ](?P<name>{_WORD}(?:[ ]{_WORD})?)")
_TITLE_SCORE, _GIVEN_NAME_SCORE = 900, 700


class Names:
    kinds = ("PERSON",)

    def __init__(self) -> None:
        text = (Path(__file__).parent / "given_names.txt").read_text("utf-8")
        self._given = frozenset(text.split())

    def detect(self, passages: Sequence[Passage]) -> Iterator[Finding]:
        for number, passage in enumerate(passages):
            for start, end, score in self._names(passage.text):
                yield Finding("PERSON", score, (Mark(number, start, end),))

    def _names(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Start, end and score of each name. A name with a title may come twice."""
        for titled in _TITLED.finditer(text):
            yield *titled.span("name"), _TITLE_SCORE
        start = 0
        while (named := _NAME.search(text, start)) is not None:
            is_name = named["first"] in self._given or named["first"].partition("-")[0] in self._given
            if is_name:
                yield *named.span(), _GIVEN_NAME_SCORE
            start = named.end() if is_name else named.end("first")
