"""Rules over text, looked for loosely before they are looked for.

An automaton makes a state for each number of a long count, such as `[^"]{4,160}`, and for each set of rules
that wait behind a gap, such as `[^.]*` between words: new ones at nearly every character of a new text. So
counts are left open, and of a rule with a gap one side is looked for, its `look`. That finds all that the
rules find and little beside, and the rule itself is asked only then.
"""

import re
from collections.abc import Mapping

from broker.policy.pattern_sets import pattern_set

_TOGETHER = 16
_COUNTED_MAX = 3
"""A shorter count is left as it is."""
_OPEN_FROM = 2
_MEMORY_BYTES = 32 << 20
_COUNT = re.compile(r"(?<!\\x)\{([0-9]+),?([0-9]*)\}")
_STARS = ("*", "+", f"{{{_OPEN_FROM},}}")


class TextRules:
    """By number. Time is linear in the text: RE2 does not backtrack."""

    def __init__(self, patterns: Mapping[int, str], looks: Mapping[int, str]) -> None:
        """`looks`: of some of them, what stands wherever they match."""
        loose = {number: loosened(pattern) for number, pattern in patterns.items()} | dict(looks)
        order = sorted(patterns)
        self._groups = [
            (part, pattern_set([loose[number] for number in part], _MEMORY_BYTES))
            for part in (order[first : first + _TOGETHER] for first in range(0, len(order), _TOGETHER))
        ]
        self._exact = {number: pattern_set([pattern], _MEMORY_BYTES) for number, pattern in patterns.items()}
        self._loosened = frozenset(number for number in order if loose[number] != patterns[number])

    def likely(self, text: bytes) -> tuple[int, ...]:
        """Those that match, and some that may not."""
        return tuple([part[place] for part, loose in self._groups for place in loose.Match(text) or ()])

    def match(self, number: int, text: bytes) -> bool:
        """Whether a likely one does."""
        return number not in self._loosened or self.match_part(number, text)

    def match_part(self, number: int, part: bytes) -> bool:
        """Whether one that is likely in a text matches in a part of it."""
        return self._exact[number].Match(part) is not None


def loosened(pattern: str) -> str:
    """A pattern that matches wherever the given one does, with no long count in it."""
    return _COUNT.sub(_open, pattern)


def _open(count: re.Match[str]) -> str:
    if int(count[2] or count[1]) <= _COUNTED_MAX:
        return count[0]
    return _STARS[min(int(count[1]), _OPEN_FROM)]
