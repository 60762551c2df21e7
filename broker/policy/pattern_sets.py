"""Which of many patterns match somewhere in a text, told in one pass."""

from collections.abc import Iterable

import re2


def pattern_set(patterns: Iterable[str], memory_bytes: int, *, latin1: bool = False) -> re2.Set:
    """Of RE2's patterns over texts in UTF-8, or in Latin-1."""
    options = re2.Options()
    options.never_capture = True
    options.max_mem = memory_bytes
    if latin1:
        options.encoding = re2.Options.Encoding.LATIN1
    compiled = re2.Set.SearchSet(options)
    for pattern in patterns:
        compiled.Add(pattern.encode("latin-1" if latin1 else "utf-8"))
    compiled.Compile()
    return compiled
