"""The two files that a run writes: what stands in them is done, so they are all that a run needs to go on."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from broker.errors import HeadworksError
from headworks.batch.identity import Entry, begins_entry


class OutputUnfit(HeadworksError):
    """An output file cannot be written, or holds something else, which is left as it is."""

    code = "output_unfit"


def errors_beside(output: Path) -> Path:
    """`out.errors.jsonl` for `out.jsonl`."""
    return output.with_name(f"{output.stem}.errors{output.suffix}")


class OutputFile:
    """Opened for this process alone. Every method raises OutputUnfit where the system does not play along."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._writing():
            self._file = path.open("a+b")
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._file.close()
            raise OutputUnfit(f"{path} is not a regular file: what stands in it is how a run goes on")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise OutputUnfit(f"another process is writing {path}") from None

    def done(self, tag: str) -> Iterator[bytes]:
        """The ids of the lines that it holds, 16 bytes each; a torn last line is cut off.

        Raises OutputUnfit where it is another run's.
        """
        self._file.seek(0)
        end = 0
        for number, written in enumerate(self._file, start=1):
            if not written.endswith(b"\n"):
                self._cut(end, number, written, tag)
                return
            end += len(written)
            entry = Entry.of(written)
            if entry is None:
                raise self._something_else(number)
            if entry.tag != tag:
                raise OutputUnfit(
                    f"{self._path} holds the answers of another run (line {number}): name another file, or "
                    "give the input and the --run-id of that run to go on with it"
                )
            yield entry.line.bytes

    def write(self, line: bytes) -> None:
        with self._writing():
            self._file.write(line)

    def flush(self) -> None:
        with self._writing():
            self._file.flush()

    def close(self) -> None:
        with self._writing():
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def _cut(self, start: int, number: int, torn: bytes, tag: str) -> None:
        """A process that was killed may leave half a line; its job is submitted again and not paid again.
        What cannot be the beginning of such a line is somebody's, and stays.
        """
        if not begins_entry(torn, tag):
            raise self._something_else(number)
        with self._writing():
            self._file.truncate(start)

    def _something_else(self, number: int) -> OutputUnfit:
        return OutputUnfit(f"{self._path} holds something else (line {number}): name another file")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputUnfit(f"{self._path} cannot be written: {error.strerror or error}") from None


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
