"""Windows side by side, and which rules over text match in each: told only when it is asked."""

from collections.abc import Sequence
from typing import NamedTuple

from broker.policy.injection.text_rules import TextRules


class Known(NamedTuple):
    """What is known of a row of windows; texts that grow begin as they did, so it may be asked for again."""

    over_concepts: tuple[tuple[int, ...], ...]
    """Of each window, the rules that match."""
    likely: tuple[int, ...]
    """Rules over text that may match."""
    in_whole: dict[int, bool]
    """Whether each that was asked for does in the whole row."""
    in_window: dict[tuple[int, int], bool]
    """The same by window and rule."""


class Row:
    """Segments, of which each two side by side are a window, or the only one is."""

    def __init__(self, segments: Sequence[bytes], whole: bytes, known: Known, rules: TextRules) -> None:
        self._segments = segments
        self._whole = whole
        self._rules = rules
        self._known = known
        self.likely = known.likely

    def matches(self, window: int, rule: int) -> bool:
        """Whether a likely rule matches in a window, and in the whole row: a window may begin in a word."""
        if len(self._segments) == 1:
            return self._in_whole(rule)
        asked = self._known.in_window
        found = asked.get((window, rule))
        if found is None:
            one, other = self._segments[window : window + 2]
            found = asked[window, rule] = self._rules.match_part(rule, one + other) and self._in_whole(rule)
        return found

    def _in_whole(self, rule: int) -> bool:
        asked = self._known.in_whole
        found = asked.get(rule)
        if found is None:
            found = asked[rule] = self._rules.match(rule, self._whole)
        return found
