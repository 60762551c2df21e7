"""A statement from bytes to entries, a row at a time: CSV with a header, or JSON Lines."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any, BinaryIO, Final

from broker.statements.entries import COLUMNS, REQUIRED, Entry, Fault, FaultCode, entry_of

LINE_CHARS_MAX: Final = 65_536
_TEMPLATE: Final = "job,run,attempt,dollars"


class Statement:
    """Of one file, which is read once; `sha256` is known when all of `entries` were taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._hashed = _Hashed(file)

    @property
    def sha256(self) -> str:
        return self._hashed.digest.hexdigest()

    def entries(self) -> Iterator[Entry | Fault]:
        """Every row; a fault in place of what is none. What follows a fault that hides where the next row
        begins is not read.
        """
        # Bytes that are no UTF-8 become what no value can be.
        text = io.TextIOWrapper(io.BufferedReader(self._hashed), "utf-8-sig", "surrogateescape", newline="")
        lines = _bounded(text)
        blank, head = 0, ""
        found = False
        try:
            for head in lines:
                if head.strip():
                    break
                blank += 1
            rows = _of_json if head.lstrip().startswith("{") else _of_csv
            for row in rows(chain([head], lines), blank) if head.strip() else ():
                found = True
                yield row
        except _TooLong as error:
            found = True
            yield Fault(error.line, FaultCode.ROW_MALFORMED, f"longer than {LINE_CHARS_MAX:,} characters")
        if not found:
            yield Fault(1, FaultCode.STATEMENT_EMPTY, f"no row is in the file; its first line is {_TEMPLATE}")


class _TooLong(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """Its lines, none of which is read beyond the limit. Raises _TooLong."""
    for number in count(1):
        line = text.readline(LINE_CHARS_MAX)
        if not line:
            return
        if len(line) == LINE_CHARS_MAX:
            raise _TooLong(number)
        yield line


class _Hashed(io.RawIOBase):
    """Reads on, and knows the SHA-256 of what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._file.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.digest.update(chunk)
        return len(chunk)


def _of_csv(lines: Iterable[str], before: int) -> Iterator[Entry | Fault]:
    """`before`: lines before the first of these."""
    row = _Row(lines)
    reader = csv.reader(row, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if (wrong := _wrong_header(header)) is not None:
            yield Fault(before + reader.line_num, FaultCode.HEADER_INVALID, wrong)
            return
        row.chars = 0
        for cells in reader:
            row.chars = 0
            line = before + reader.line_num
            if len(cells) == len(header):
                yield entry_of(line, dict(zip(header, cells, strict=True)))
            elif cells:
                told = f"{len(cells)} cells, and the header has {len(header)}"
                yield Fault(line, FaultCode.ROW_MALFORMED, told)
    except csv.Error as error:
        yield Fault(before + reader.line_num, FaultCode.ROW_MALFORMED, f"no CSV: {error}")


class _Row:
    """The lines of a row of CSV, which goes on within quotes, and so might have no end."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.chars = 0
        """Of the row under way; whoever has a whole one sets it back."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.chars += len(line)
        if self.chars > LINE_CHARS_MAX:
            raise csv.Error(f"a row of more than {LINE_CHARS_MAX:,} characters")
        return line


def _wrong_header(header: list[str]) -> str | None:
    for name in header:
        if name not in COLUMNS:
            known = ", ".join(sorted(COLUMNS))
            return f"no column is called {name[:40]!a}; parted by commas there may be {known}"
        if header.count(name) > 1:
            return f"the column {name} stands there twice"
    missing = [name for name in REQUIRED if name not in header]
    return f"the column {missing[0]} is missing; a header is {_TEMPLATE}" if missing else None


def _of_json(lines: Iterable[str], before: int) -> Iterator[Entry | Fault]:
    for number, line in enumerate(lines, before + 1):
        if line.strip():
            yield _of_object(number, line)


def _of_object(number: int, line: str) -> Entry | Fault:
    try:
        # Numbers stay the text that they are, as in CSV: a float is no exact amount.
        fields = json.loads(
            line, parse_int=str, parse_float=str, parse_constant=_no_number, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:
        return Fault(number, FaultCode.ROW_MALFORMED, f"no JSON: {error}")
    if not isinstance(fields, dict):
        return Fault(number, FaultCode.ROW_MALFORMED, "no JSON object")
    unknown = next((name for name in fields if name not in COLUMNS), None)
    if unknown is not None:
        return Fault(number, FaultCode.ROW_MALFORMED, f"no field is called {unknown[:40]!a}")
    return entry_of(number, fields)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands there twice")
    return fields
