"""What was found in texts of late: conversations say again what they said before, and prompts come again.

Under the digests of the texts: no text is kept.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Generic, TypeVar

Found = TypeVar("Found")


def digest(text: str) -> bytes:
    """SHA-256 of its UTF-8, 32 bytes; lone surrogates differ too."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


class Memory(Generic[Found]):
    """Of the last `texts_max` texts that were kept or asked for."""

    def __init__(self, texts_max: int) -> None:
        self._texts_max = texts_max
        self._found: OrderedDict[bytes, Found] = OrderedDict()

    def of(self, key: bytes) -> Found | None:
        """What was kept under a digest."""
        try:
            self._found.move_to_end(key)
        except KeyError:
            return None
        return self._found.get(key)  # another thread may have forgotten it

    def keep(self, key: bytes, found: Found) -> None:
        self._found[key] = found
        if len(self._found) > self._texts_max:
            self._found.popitem(last=False)
