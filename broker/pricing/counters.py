"""Exact counts of tokens, where a model's tokenizer is public and its file is at hand.

A count lowers the bound of a text and never raises it; what a provider puts around the texts comes on top.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Final, Protocol

from broker.errors import SettingsInvalid

FILE_SUFFIX: Final = ".tiktoken"
_RECIPES: Final = "tiktoken_ext.openai_public"


class TokenCounter(Protocol):
    """One encoding. Anything that counts as the provider does may stand behind it."""

    def count(self, text: str) -> int:
        """Tokens of a text in which nothing is a control token."""
        ...


class TiktokenCounter:
    def __init__(self, encoding: Any) -> None:
        """`encoding`: a `tiktoken.Encoding`."""
        self._encode = encoding.encode_ordinary

    def count(self, text: str) -> int:
        return len(self._encode(text))


def load_counters(folder: Path | None) -> Mapping[str, TokenCounter]:
    """One for each file `<encoding>.tiktoken` in the folder; none without a folder. Nothing is downloaded.

    Raises SettingsInvalid where tiktoken is not installed, the folder cannot be read, or a file is not the
    one that its encoding is made from.
    """
    if folder is None:
        return MappingProxyType({})
    try:
        tiktoken, recipes = import_module("tiktoken"), import_module(_RECIPES)
    except ModuleNotFoundError:
        raise SettingsInvalid("tokenizers: to count tokens exactly, install headworks[tokenizers]") from None
    if not folder.is_dir():
        raise SettingsInvalid(f"tokenizers: {folder} is not a folder")
    names = [path.stem for path in sorted(folder.glob(f"*{FILE_SUFFIX}"))]
    known = recipes.ENCODING_CONSTRUCTORS
    return MappingProxyType({
        name: TiktokenCounter(tiktoken.Encoding(**_recipe(recipes, known[name].__name__, folder)))
        for name in names
        if name in known
    })  # fmt: skip


def _recipe(recipes: ModuleType, name: str, folder: Path) -> dict[str, Any]:
    """What an encoding is made from, as tiktoken has it, with its file read from the folder.

    tiktoken's recipes download what is not in its cache. Here they run with a reader of local files in the
    place of the one that downloads, so that nothing can.
    """

    def read(source: str, expected_hash: str | None = None) -> dict[bytes, int]:
        return _ranks(folder / PurePosixPath(source).name, expected_hash)

    names: dict[str, Any] = dict(vars(recipes))
    for each, found in vars(recipes).items():
        if isinstance(found, FunctionType) and found.__module__ == recipes.__name__:
            names[each] = FunctionType(found.__code__, names, each, found.__defaults__)
    names["load_tiktoken_bpe"] = read
    recipe: dict[str, Any] = names[name]()
    return recipe


def _ranks(path: Path, expected_hash: str | None) -> dict[bytes, int]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsInvalid(f"tokenizers: {path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != expected_hash:
        raise SettingsInvalid(f"tokenizers: {path} is not the file that its encoding is made from")
    try:
        pairs = (line.split() for line in content.splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error):
        raise SettingsInvalid(f"tokenizers: {path} is not a file of tokens and ranks") from None
