"""The two files that a run writes: what stands in them is done, so they are all that a run needs to go on."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from broker.errors import HeadworksError
from headworks.batch.identity import Entry

_CHUNK_BYTES = 64 * 1024


class OutputUnfit(HeadworksError):
    """An output file holds something else, or another process writes to it. Nothing was changed."""

    code = "output_unfit"


def errors_beside(output: Path) -> Path:
    """`out.errors.jsonl` for `out.jsonl`."""
    return output.with_name(f"{output.stem}.errors{output.suffix}")


class OutputFile:
    """Opened for this process alone; a torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        """Raises OutputUnfit."""
        self._path = path
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise OutputUnfit(f"{path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise OutputUnfit(f"another process is writing {path}") from None
        self._cut_torn_line()

    def done(self, tag: str) -> Iterator[bytes]:
        """The ids of the lines that it holds, 16 bytes each. Raises OutputUnfit where it is another run's."""
        self._file.seek(0)
        for number, written in enumerate(self._file, start=1):
            entry = Entry.of(written)
            if entry is None:
                raise OutputUnfit(f"{self._path} holds something else (line {number}): name another file")
            if entry.tag != tag:
                raise OutputUnfit(
                    f"{self._path} holds the answers of another run (line {number}): name another file, or "
                    "give the input and the --run-id of that run to go on with it"
                )
            yield entry.line.bytes

    def write(self, line: bytes) -> None:
        self._file.write(line)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _cut_torn_line(self) -> None:
        """A process that was killed may leave half a line; its job is submitted again and not paid again."""
        end = start = self._file.seek(0, os.SEEK_END)
        while start > 0:
            size = min(_CHUNK_BYTES, start)
            start = self._file.seek(start - size)
            newline = self._file.read(size).rfind(b"\n")
            if newline >= 0:
                start += newline + 1
                break
        if start < end:
            self._file.truncate(start)


class Outputs:
    """Answers go to `output`, all else to `errors`; each line of input has one line in one of them."""

    def __init__(self, output: Path, errors: Path, tag: str) -> None:
        """Raises OutputUnfit."""
        with ExitStack() as opened:
            self._answers = OutputFile(output)
            opened.callback(self._answers.close)
            self._errors = OutputFile(errors)
            opened.callback(self._errors.close)
            self.done = {*self._answers.done(tag), *self._errors.done(tag)}
            """The ids of finished lines, 16 bytes each."""
            self._closing = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def answer(self, line: bytes) -> None:
        self._answers.write(line)

    def error(self, line: bytes) -> None:
        self._errors.write(line)

    def flush(self) -> None:
        self._answers.flush()
        self._errors.flush()
