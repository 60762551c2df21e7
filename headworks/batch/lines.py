"""Reading a file of any size line by line, in bounded memory."""

import asyncio
import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

_CHUNK_BYTES = 1024 * 1024
_LINES_A_TURN = 64
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    number: int
    """From 1."""
    raw: bytes | None
    """Without its line end; None where it was longer than the limit."""


class Contents(NamedTuple):
    sha256: str
    lines: int


def inspect(path: Path) -> Contents:
    """Read the file once, in pieces. A last line without a line end counts."""
    digest = hashlib.sha256()
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return Contents(digest.hexdigest(), lines + (last != b"\n"))


def numbered(file: BinaryIO, line_bytes_max: int) -> Iterator[Line]:
    number = 0
    while raw := file.readline(line_bytes_max + 2):
        number += 1
        whole = raw.endswith(b"\n")
        raw = raw.rstrip(b"\r\n")
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if len(raw) <= line_bytes_max:
            yield Line(number, raw)
            continue
        while not whole and (rest := file.readline(_CHUNK_BYTES)):
            whole = rest.endswith(b"\n")
        yield Line(number, None)


async def lines_of(file: BinaryIO, line_bytes_max: int) -> AsyncIterator[Line]:
    """Read what is a file in short turns of the loop, and what may block (a pipe, a terminal) beside it."""
    lines = numbered(file, line_bytes_max)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        async for line in _from_a_thread(lines):
            yield line
        return
    while some := list(islice(lines, _LINES_A_TURN)):
        for line in some:
            yield line
        await asyncio.sleep(0)


async def _from_a_thread(lines: Iterator[Line]) -> AsyncIterator[Line]:
    """A daemon thread: one that waits for input would hold up the end of the process."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Line | OSError | None] = asyncio.Queue()
    room = threading.Semaphore(_LINES_A_TURN)

    def put(item: Line | OSError | None) -> None:
        room.acquire()
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody reads on
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for line in lines:
                put(line)
            put(None)
        except OSError as error:
            put(error)

    threading.Thread(target=read, daemon=True, name="headworks-input").start()
    while (item := await queue.get()) is not None:
        room.release()
        if isinstance(item, OSError):
            raise item
        yield item
