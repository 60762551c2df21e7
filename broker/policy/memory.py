"""What was found in texts of late: conversations say again what they said before, and prompts come again.

No text is kept, but its hash: 64 bits of Python's SipHash under a random key of this process, which texts
have already, so that a look costs next to nothing; and its length. Python hashes a text's bytes as it stores
them, one, two or four a character: an even number of Latin letters are the bytes of half as many ideographs.
Two texts of one length share a hash once in 2^64 times, and nobody who lacks the key can look for two that
do. Where the key is fixed (PYTHONHASHSEED) nothing is remembered.

All tenants share what is remembered: what is found in a text does not depend on whose it is. Whoever sends a
whole text that another sent of late has it judged sooner, by milliseconds amid the waits of a queue.
"""

import os
import sys
from collections import OrderedDict
from contextlib import suppress
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Memory(Generic[Found]):
    """Of the last `texts_max` texts that were kept or asked for."""

    def __init__(self, texts_max: int) -> None:
        self._texts_max = texts_max if _is_random() else 0
        self._found: OrderedDict[tuple[int, int], Found] = OrderedDict()

    def of(self, text: str | bytes) -> Found | None:
        key = _key(text)
        found = self._found.get(key)
        if found is not None:
            with suppress(KeyError):  # another thread may have forgotten it
                self._found.move_to_end(key)
        return found

    def keep(self, text: str | bytes, found: Found) -> None:
        if not self._texts_max:
            return
        self._found[_key(text)] = found
        if len(self._found) > self._texts_max:
            self._found.popitem(last=False)


def _key(text: str | bytes) -> tuple[int, int]:
    return hash(text), len(text)


def _is_random() -> bool:
    return os.environ.get("PYTHONHASHSEED", "random") == "random" and bool(sys.flags.hash_randomization)
