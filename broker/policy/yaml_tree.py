"""YAML read as plain data, each value with the line it stands on.

Of YAML only what a policy needs: no anchors, no aliases, no tags, no merging, one document. A plain scalar is
what YAML 1.2's core schema makes of it, but for octal, hexadecimal and infinite numbers, which are text here:
`no` is the word, not false. Read event by event, so that depth and size are judged before anything is built.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from broker.errors import PolicyInvalid

BYTES_MAX: Final = 262_144
DEPTH_MAX: Final = 24
VALUES_MAX: Final = 20_000

Path = tuple[str | int, ...]

_CONSTANTS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(?=[0-9.])[0-9]{0,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?")


class Tree(NamedTuple):
    """`value`: dictionaries, lists and scalars. `lines`: the line, from 1, of each path in it."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Of the path, or of what it would stand in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_tree(text: str | bytes) -> Tree:
    """Raises PolicyInvalid, with a line, for whatever is not YAML or not within the bounds above."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(data) > BYTES_MAX:
        raise PolicyInvalid(f"a document may have {BYTES_MAX} bytes at most")
    try:
        decoded = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyInvalid("the document is not UTF-8", line) from None
    return _Builder(decoded.count("\n") + 1).build(_events(decoded))


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else min(mark.line, text.count("\n")) + 1
        raise PolicyInvalid(f"not YAML: {error.problem or error.context}", line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PolicyInvalid("not YAML: a character that YAML does not take", line) from None


class _Open(NamedTuple):
    """A container that is being read. `keys`: of a dictionary, where the last is the one that waits."""

    value: dict[str, Any] | list[Any]
    path: Path
    keys: list[str]


class _Builder:
    def __init__(self, lines: int) -> None:
        self._last = lines
        self._lines: dict[Path, int] = {}
        self._stack: list[_Open] = []
        self._roots: list[Any] = []
        self._values = 0

    def build(self, events: Iterator[yaml.Event]) -> Tree:
        for event in events:
            mark = event.start_mark
            # What is left empty at the end stands, for the parser, behind the last line.
            self._take(event, self._last if mark is None else min(mark.line + 1, self._last))
        if not self._roots:
            raise PolicyInvalid("the document is empty", 1)
        return Tree(self._roots[0], self._lines)

    def _take(self, event: yaml.Event, line: int) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._check(event, line)
            if self._awaits_key():
                self._key(event, line)
            else:
                self._value(event, line)

    def _check(self, event: yaml.NodeEvent, line: int) -> None:
        self._values += 1
        if self._values > VALUES_MAX:
            raise PolicyInvalid(f"a document may have {VALUES_MAX} values at most", line)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise PolicyInvalid("anchors and aliases are not taken: write it out", line)
        if getattr(event, "tag", None) is not None:
            raise PolicyInvalid("tags are not taken", line)
        if len(self._stack) >= DEPTH_MAX:
            raise PolicyInvalid(f"a document may nest {DEPTH_MAX} levels at most", line)

    def _awaits_key(self) -> bool:
        if not self._stack:
            return False
        top = self._stack[-1]
        return isinstance(top.value, dict) and len(top.keys) == len(top.value)

    def _key(self, event: yaml.NodeEvent, line: int) -> None:
        top = self._stack[-1]
        if not isinstance(event, yaml.ScalarEvent):
            raise PolicyInvalid("a key must be plain text", line)
        if event.value in top.value:
            raise PolicyInvalid(f"`{event.value[:64]}` stands here twice", line)
        top.keys.append(event.value)
        self._lines[(*top.path, event.value)] = line

    def _value(self, event: yaml.NodeEvent, line: int) -> None:
        value = _scalar(event) if isinstance(event, yaml.ScalarEvent) else _container(event)
        path = self._place(value, line)
        self._lines.setdefault(path, line)
        if isinstance(value, dict | list):
            self._stack.append(_Open(value, path, []))

    def _place(self, value: Any, line: int) -> Path:
        if not self._stack:
            if self._roots:
                raise PolicyInvalid("a file holds one document", line)
            self._roots.append(value)
            return ()
        top = self._stack[-1]
        if isinstance(top.value, dict):
            top.value[top.keys[-1]] = value
            return (*top.path, top.keys[-1])
        top.value.append(value)
        return (*top.path, len(top.value) - 1)


def _container(event: yaml.NodeEvent) -> dict[str, Any] | list[Any]:
    return {} if isinstance(event, yaml.MappingStartEvent) else []


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.style:  # quoted or a block: text, whatever it looks like
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
