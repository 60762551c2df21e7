"""The output files are the journal: what stands in them is done, but for torn lines and strangers."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.batch.files import Outputs, OutputUnfit, errors_beside
from headworks.batch.identity import Entry
from headworks.batch.output import refusal_line

TAG = "0a1b2c3d"


def line(number: int, tag: str = TAG) -> bytes:
    return refusal_line(Entry(tag, UUID(int=number)), f"c{number}", number, "code", "message")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    output = tmp_path / "out.jsonl"
    return output, errors_beside(output)


def test_errors_stand_beside_the_output() -> None:
    assert errors_beside(Path("a/out.jsonl")) == Path("a/out.errors.jsonl")
    assert errors_beside(Path("out")) == Path("out.errors")


def test_what_was_written_is_done_in_the_next_session(paths: tuple[Path, Path]) -> None:
    with Outputs(*paths, TAG) as outputs:
        assert outputs.done == set()
        outputs.answer(line(1))
        outputs.error(line(2))
    with Outputs(*paths, TAG) as outputs:
        assert outputs.done == {UUID(int=1).bytes, UUID(int=2).bytes}
        outputs.answer(line(3))
    assert paths[0].read_bytes() == line(1) + line(3)
    assert paths[1].read_bytes() == line(2)


@given(cut=st.integers(1, len(line(1))))
def test_a_torn_last_line_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    output = tmp_path_factory.mktemp("torn") / "out.jsonl"
    output.write_bytes(line(1) + line(2)[:-cut])
    with Outputs(output, errors_beside(output), TAG) as outputs:
        assert outputs.done == {UUID(int=1).bytes}
    assert output.read_bytes() == line(1)


def test_a_torn_line_longer_than_what_is_read_at_once_is_cut_off(paths: tuple[Path, Path]) -> None:
    paths[0].write_bytes(line(1) + line(2)[:-2] + b"x" * 200_000)
    with Outputs(*paths, TAG) as outputs:
        assert outputs.done == {UUID(int=1).bytes}


def test_a_file_of_nothing_but_a_torn_line_is_emptied(paths: tuple[Path, Path]) -> None:
    paths[0].write_bytes(line(1)[:-1] + b"x" * 70_000)
    with Outputs(*paths, TAG):
        pass
    assert paths[0].read_bytes() == b""


@pytest.mark.parametrize(
    "content", [b"my thesis", b"my\nthesis", b"x" * 70_000, line(1, tag="ffffffff")[:-1]]
)
def test_a_last_line_that_is_not_this_run_s_is_not_taken_for_torn(
    paths: tuple[Path, Path], content: bytes
) -> None:
    for path in paths:
        path.write_bytes(content)
        with pytest.raises(OutputUnfit, match="something else"):
            Outputs(*paths, TAG)
        assert path.read_bytes() == content
        path.unlink()


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_file_to_go_on_with(paths: tuple[Path, Path], device: str) -> None:
    with pytest.raises(OutputUnfit, match="not a regular file"):
        Outputs(paths[0], Path(device), TAG)


def test_a_disk_that_is_full_is_told(paths: tuple[Path, Path]) -> None:
    outputs = Outputs(*paths, TAG)
    for number in range(100):
        outputs.answer(line(number))
    with file_size_limited(1_000), pytest.raises(OutputUnfit, match="cannot be written: File too large"):
        outputs.flush()
    with file_size_limited(1_000), pytest.raises(OutputUnfit, match="cannot be written"):
        outputs.__exit__()
    with Outputs(*paths, TAG) as reopened:
        assert len(reopened.done) == paths[0].read_bytes().count(b"\n") > 0


@contextmanager
def file_size_limited(size: int) -> Iterator[None]:
    """The system refuses to let any file of this process grow further."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_another_run_s_answers_are_left_as_they_are(paths: tuple[Path, Path]) -> None:
    paths[1].write_bytes(line(1, tag="ffffffff"))
    with pytest.raises(OutputUnfit, match=r"another run \(line 1\)"):
        Outputs(*paths, TAG)
    assert paths[1].read_bytes() == line(1, tag="ffffffff")


def test_a_file_of_something_else_is_left_as_it_is(paths: tuple[Path, Path]) -> None:
    paths[0].write_bytes(b"my thesis\n")
    with pytest.raises(OutputUnfit, match="something else"):
        Outputs(*paths, TAG)
    assert paths[0].read_bytes() == b"my thesis\n"


def test_two_at_a_time_do_not_write_one_file(paths: tuple[Path, Path]) -> None:
    with Outputs(*paths, TAG), pytest.raises(OutputUnfit, match="another process"):
        Outputs(*paths, TAG)
    with Outputs(*paths, TAG):
        pass


def test_a_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputUnfit, match="cannot be written"):
        Outputs(tmp_path, tmp_path / "errors", TAG)
