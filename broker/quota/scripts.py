"""The Lua scripts, one a verb, each behind the same prelude."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Self


@dataclass(frozen=True, slots=True)
class Script:
    source: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Self:
        """`name`.lua of this package."""
        folder = files("broker.quota")
        source = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
        # Not for secrecy: Redis names scripts by SHA-1.
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Scripts:
    reserve: Script
    start: Script
    settle: Script
    correct: Script
    release: Script
    rebuild: Script
    jobs: Script
    counters: Script
    inspect: Script

    @classmethod
    def load(cls) -> Self:
        names = ("reserve", "start", "settle", "correct", "release", "rebuild", "jobs", "counters", "inspect")
        return cls(*(Script.load(name) for name in names))
