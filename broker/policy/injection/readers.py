"""The reader that this installation has: the compiled one, where a C compiler was at hand to build it."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final, Protocol

from broker.policy.injection.interpreted import InterpretedReader
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import Part
from broker.policy.injection.reading import Reader, Weights

COMPILED: Final = find_spec("broker.policy.injection.kernel") is not None


class Make(Protocol):
    def __call__(
        self,
        parts: Mapping[int, Part],
        words: Lexicon,
        weights: Weights,
    ) -> Reader:
        """`parts`: rules over concepts by number."""


def quickest() -> Make:
    if not COMPILED:
        return InterpretedReader
    from broker.policy.injection.compiled import CompiledReader  # noqa: PLC0415  it needs what was compiled

    return CompiledReader
