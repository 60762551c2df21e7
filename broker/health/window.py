"""What a window of calls says of their latency, and how sure that is. Pure."""

import math
from dataclasses import dataclass
from typing import Final

ERRORS: Final = 2.0
"""Standard errors by which the latency of a window must be off: of few calls, the mean says little."""


@dataclass(slots=True)
class Window:
    """Of calls that were served and timed."""

    began: float
    served: int = 0
    seconds: float = 0.0
    logarithms: float = 0.0
    squares: float = 0.0
    """Of the logarithms."""
    under_way: int = 0
    """The most at the ends of its calls."""

    def note(self, latency_s: float) -> None:
        logarithm = math.log(max(latency_s, 1e-6))
        self.served += 1
        self.seconds += latency_s
        self.logarithms += logarithm
        self.squares += logarithm * logarithm

    def latency_s(self) -> float:
        """A geometric mean, in which a few long answers count for little."""
        return math.exp(self.logarithms / self.served)

    def times_off(self) -> float:
        """So many times the mean may be off by chance, up or down: by ERRORS standard errors. Of 2 calls at
        least.
        """
        mean = self.logarithms / self.served
        variance = max(0.0, self.squares / self.served - mean * mean)
        return math.exp(ERRORS * math.sqrt(variance / (self.served - 1)))
