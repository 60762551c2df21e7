"""Conditions that compare one number of a job with a number of their own, in words that need no interpreter.

Lengths and scores differ from job to job, so that what such a condition came to is seldom remembered; to
compare takes a tenth of what the interpreter takes.
"""

import re
import sys
from typing import Final

from broker.policy.expressions import Expression

Band = tuple[int, int]
"""It holds from the first to below the second."""

_COMPARISON: Final = re.compile(r"\s*([a-z_]+(?:\.\w+)+)\s*(>=|>|<=|<)\s*(0|[1-9][0-9]{0,14})\s*", re.ASCII)


def band_of(expression: Expression) -> Band | None:
    """None where it is no comparison of a whole number that every job has with one that is written out."""
    found = _COMPARISON.fullmatch(expression.source)
    fact = None if found is None else expression.reads.get(found[1])
    if found is None or fact is None or fact.kind != "int" or fact.optional:
        return None
    number = int(found[3])
    match found[2]:
        case ">":
            return number + 1, sys.maxsize
        case ">=":
            return number, sys.maxsize
        case "<":
            return -sys.maxsize, number
        case _:
            return -sys.maxsize, number + 1
