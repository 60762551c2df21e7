"""What is no prompt is not asked: it would be paid for."""

import pytest
from typer.testing import CliRunner

from headworks.cli import app


@pytest.mark.parametrize("given", [b"", b" \n\t\n"])
@pytest.mark.parametrize("by_pipe", [True, False])
def test_an_empty_prompt_is_wrong_usage(given: bytes, by_pipe: bool) -> None:
    prompt = "-" if by_pipe else given.decode()
    result = CliRunner().invoke(app, ["submit", prompt], input=given)
    assert result.exit_code == 2
    assert "the prompt is empty" in result.output


def test_bytes_that_are_no_text_are_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["submit", "-"], input=b"\xff\xfe\x00")
    assert result.exit_code == 2
    assert "not UTF-8" in result.output
