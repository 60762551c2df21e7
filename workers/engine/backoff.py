"""How long to wait before the same thing is tried again."""

import random
from collections.abc import Iterator

FIRST_S = 0.05
MAX_S = 2.0


def delays() -> Iterator[float]:
    """Without end: doubling from 50 ms to 2 s, each with full jitter (Brooker, AWS, 2015) above a half."""
    ceiling = FIRST_S
    while True:
        yield random.uniform(ceiling / 2, ceiling)
        ceiling = min(MAX_S, ceiling * 2)
