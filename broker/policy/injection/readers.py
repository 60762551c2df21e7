"""The reader that this installation has: the compiled one, where a C compiler was at hand to build it."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

from broker.policy.injection.interpreted import InterpretedReader
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import Part
from broker.policy.injection.reading import Reader, Weights

COMPILED: Final = find_spec("broker.policy.injection.kernel") is not None

Make = Callable[[Mapping[int, Part], Lexicon, Weights], Reader]
"""Given rules over concepts by number."""


def quickest(parts: Mapping[int, Part], words: Lexicon, weights: Weights) -> Reader:
    """`parts`: rules over concepts by number."""
    if not COMPILED:
        return InterpretedReader(parts, words, weights)
    from broker.policy.injection.compiled import compiled_reader  # noqa: PLC0415  it needs what was compiled

    return compiled_reader(parts, words, weights)
