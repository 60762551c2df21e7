"""Reading lines of any length in bounded memory, from files and from pipes."""

import asyncio
import hashlib
import os
from io import BytesIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headworks.batch.lines import Line, inspect, lines_of, numbered

LIMIT = 8
DEADLINE_S = 10
contents = st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"")), max_size=8)


@given(contents, st.booleans())
def test_lines_are_numbered_and_the_long_ones_are_only_counted(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    expected = data.split(b"\n")[: None if data and not data.endswith(b"\n") else -1]
    read = list(numbered(BytesIO(data), LIMIT))
    assert [line.number for line in read] == list(range(1, len(expected) + 1))
    for line, raw in zip(read, expected, strict=True):
        stripped = raw.rstrip(b"\r")
        stripped = stripped.removeprefix(b"\xef\xbb\xbf") if line.number == 1 else stripped
        assert line.raw == (stripped if len(stripped) <= LIMIT else None)


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_a_line() -> None:
    assert list(numbered(BytesIO(b"\xef\xbb\xbf{}\r\n{}\r\n"), LIMIT)) == [Line(1, b"{}"), Line(2, b"{}")]


def test_a_line_at_the_limit_passes_with_either_line_end() -> None:
    data = b"12345678\r\n12345678\n123456789\n1"
    assert [line.raw for line in numbered(BytesIO(data), LIMIT)] == [b"12345678", b"12345678", None, b"1"]


def test_a_file_is_inspected_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    for data, lines in ((b"", 0), (b"a", 1), (b"a\n", 1), (b"a\n\nb", 3)):
        path.write_bytes(data)
        assert inspect(path) == (hashlib.sha256(data).hexdigest(), lines)


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"x\n" * 200)
    with path.open("rb") as file:
        assert [line.number async for line in lines_of(file, LIMIT)] == list(range(1, 201))


async def test_a_pipe_is_read_while_it_is_written() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        lines = lines_of(file, LIMIT)
        for number in range(1, 201):
            pipe.write(b"x\n")
            assert await asyncio.wait_for(anext(lines), DEADLINE_S) == Line(number, b"x")
        pipe.close()
        assert [line async for line in lines] == []
