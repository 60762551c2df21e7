"""What is read of a statement, and what is refused, each with its line."""

import hashlib
import io
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.statements.entries import TOLD, Entry, Fault
from broker.statements.reading import LINE_CHARS_MAX, Statement
from schemas.state import Usage
from schemas.terms import TOKENS_MAX

JOB = "019b76da-a800-7d3f-8a5b-1c2d3e4f5061"


def read(content: str | bytes) -> list[Entry | Fault]:
    return list(Statement(io.BytesIO(content.encode() if isinstance(content, str) else content)).entries())


def codes(content: str | bytes) -> list[tuple[int, str]]:
    return [(each.line, each.code.value) for each in read(content) if isinstance(each, Fault)]


def dollars(amount: str) -> list[Entry | Fault]:
    return read(f"job,run,attempt,dollars\n{JOB},1,2,{amount}\n")


@pytest.mark.parametrize(
    ("amount", "nanodollars"),
    [
        ("0", 0),
        ("0.000000001", 1),
        ("12.5", 12_500_000_000),
        ("$0.10", 100_000_000),
        (" 0.1 ", 100_000_000),
        ("9007199.254740991", 2**53 - 1),
    ],
)
def test_dollars_are_exact(amount: str, nanodollars: int) -> None:
    assert dollars(amount) == [Entry(2, None, UUID(JOB), 1, 2, None, nanodollars)]


@pytest.mark.parametrize(
    "amount",
    [
        "-1",
        "NaN",
        "inf",
        "1e3",
        "0.0000000001",
        "10000000",
        "9007199.254740992",
        "1_0",
        "0,1",
        "１",
        ".5",
        "1.",
    ],
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    assert codes(f'job,run,attempt,dollars\n{JOB},1,2,"{amount}"\n') == [(2, "value_invalid")]


def test_a_usage_is_read_whole() -> None:
    header = "job,run,attempt,input_tokens,cached_input_tokens,cache_write_tokens,output_tokens,"
    header += "reasoning_tokens,service_tier"
    (entry,) = read(f"{header}\n{JOB},1,2,80,10,5,20,7,flex\n")
    assert isinstance(entry, Entry)
    assert entry.usage == Usage(
        input_tokens=80,
        cached_input_tokens=10,
        cache_write_tokens=5,
        output_tokens=20,
        reasoning_tokens=7,
        service_tier="flex",
    )


def test_lines_of_json_say_the_same_as_rows_of_csv() -> None:
    fields = {"job": JOB, "run": 1, "attempt": 2, "input_tokens": 80, "output_tokens": 20}
    (first,) = read(json.dumps(fields))
    (second,) = read(f"{','.join(fields)}\n{','.join(map(str, fields.values()))}")
    assert isinstance(first, Entry)
    assert isinstance(second, Entry)
    assert (first.usage, first.job_id, first.line) == (second.usage, second.job_id, 1)


@pytest.mark.parametrize("text", ["0.1", '"0.1"', "0.10"])
def test_a_number_of_json_with_a_point_is_no_float(text: str) -> None:
    (entry,) = read(f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": {text}}}')
    assert isinstance(entry, Entry)
    assert entry.nanodollars == 100_000_000


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"job": 5, "run": 1, "attempt": 1, "dollars": "1"}', "value_invalid"),
        ('{"run": 1, "attempt": 1, "dollars": "1"}', "row_incomplete"),
        (f'{{"job": "{JOB}", "run": true, "attempt": 1, "dollars": "1"}}', "value_invalid"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": true}}', "value_invalid"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": NaN}}', "row_malformed"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": 1e-5}}', "value_invalid"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": "1", "dollars": "2"}}', "row_malformed"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "cost": "1"}}', "row_malformed"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "service_tier": ["flex"]}}', "row_incomplete"),
        (f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": {"9" * 5_000}}}', "value_invalid"),
        (f'{{"job": "{JOB}", "run": {"9" * 5_000}, "attempt": 1, "dollars": 1}}', "value_invalid"),
        ('{"job": ', "row_malformed"),
        ("[]", "row_malformed"),
        ("{" * 50_000, "row_malformed"),
    ],
)
def test_a_line_of_json_that_is_wrong(line: str, code: str) -> None:
    good = f'{{"job": "{JOB}", "run": 1, "attempt": 1, "dollars": "1"}}'
    assert codes(f"{good}\n\n{line}\n{good}") == [(3, code)]


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ("1,1,1,1,1", "row_contradictory"),
        (",5,,,", "row_incomplete"),
        (",,5,,", "row_incomplete"),
        (",5,5,6,", "row_contradictory"),
        (",5,5,,6", "row_contradictory"),
        (",-5,5,,", "value_invalid"),
        (f",{TOKENS_MAX + 1},5,,", "value_invalid"),
        (",5.0,5,,", "value_invalid"),
        (",,,,", "row_incomplete"),
    ],
)
def test_a_row_that_says_no_figure_or_two(cells: str, code: str) -> None:
    header = "job,run,attempt,dollars,input_tokens,output_tokens,cached_input_tokens,reasoning_tokens"
    assert codes(f"{header}\n{JOB},1,1,{cells}\n") == [(2, code)]


@pytest.mark.parametrize(
    "row",
    ["x,1,1,1", f"{JOB},0,1,1", f"{JOB},1,32768,1", f"{JOB},-1,1,1", f"{JOB},1,one,1", f"{JOB[:-1]},1,1,1"],
)
def test_what_names_no_charge(row: str) -> None:
    assert codes(f"job,run,attempt,dollars\n{row}\n") == [(2, "value_invalid")]


@pytest.mark.parametrize(
    "header",
    [
        "job,run,attempt,cost",
        "job,run,dollars",
        "job,run,attempt,run",
        "job;run;attempt;dollars",
        "{1}",
        "\x00",
    ],
)
def test_a_header_that_is_none(header: str) -> None:
    ((line, code),) = codes(f"{header}\n{JOB},1,1,1\n")[:1]
    assert (line, code) in {(1, "header_invalid"), (1, "row_malformed")}


@pytest.mark.parametrize("content", ["", "\n\n", "job,run,attempt,dollars\n", "\ufeff"])
def test_an_empty_file_is_told(content: str) -> None:
    assert codes(content) == [(1, "statement_empty")]


def test_columns_of_the_list_of_open_charges_may_stay() -> None:
    header = ",".join(["application", "job", "run", "attempt", *TOLD, "dollars"])
    (entry,) = read("\ufeff" + f"{header}\r\nshop,{JOB},1,1{',-1' * len(TOLD)},0.5\r\n")
    assert isinstance(entry, Entry)
    assert (entry.application, entry.nanodollars) == ("shop", 500_000_000)


def test_cells_too_few_or_too_many_and_quotes_that_never_end() -> None:
    head = "job,run,attempt,dollars\n"
    assert codes(f"{head}{JOB},1,1\n\n{JOB},1,1,1,1\n") == [(2, "row_malformed"), (4, "row_malformed")]
    assert codes(f'{head}"{JOB},1,1,1\n') == [(2, "row_malformed")]


def test_a_row_that_never_ends_is_not_read_whole() -> None:
    line = f'{"x" * 1_000}","\n'
    many = 10 * LINE_CHARS_MAX // len(line)
    ((line_number, code),) = codes('job,run,attempt,dollars\n"' + line * many)
    assert code == "row_malformed"
    assert line_number < many / 5


def test_a_long_file_of_short_rows_is_read_whole() -> None:
    rows = f"{JOB},1,1,1\n" * (2 * LINE_CHARS_MAX // len(JOB))
    assert codes(f"job,run,attempt,dollars\n{rows}") == []


@pytest.mark.parametrize("field", ["run", "input_tokens", "dollars", "application", "service_tier", "job"])
@pytest.mark.parametrize("depth", [1, 300, 900, 30_000])
def test_no_nested_value_is_one(field: str, depth: int) -> None:
    fields = {"job": f'"{JOB}"', "run": "1", "attempt": "1", "output_tokens": "1", "input_tokens": "1"}
    if field == "dollars":
        del fields["output_tokens"], fields["input_tokens"]
    fields[field] = "[" * depth + "]" * depth
    ((line, code),) = codes("{" + ",".join(f'"{name}": {value}' for name, value in fields.items()) + "}")
    assert (line, code) in {(1, "value_invalid"), (1, "row_malformed")}


def test_bytes_that_are_no_text_are_no_value() -> None:
    assert codes(f"job,run,attempt,dollars\n{JOB},1,1,".encode() + b"\xff\n") == [(2, "value_invalid")]


def test_a_line_without_end_is_not_read_whole() -> None:
    class Endless(io.BytesIO):
        given = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.given += size or 0
            assert self.given < 20 * LINE_CHARS_MAX
            return b"1" * (size or 0)

    found = list(Statement(Endless()).entries())
    assert [each.code.value for each in found if isinstance(each, Fault)] == ["row_malformed"]


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_entry_or_a_fault(content: bytes) -> None:
    statement = Statement(io.BytesIO(content))
    found = list(statement.entries())
    assert found
    assert all(isinstance(each, Entry | Fault) for each in found)


def test_the_digest_is_of_the_whole_file() -> None:
    content = f"job,run,attempt,dollars\n{JOB},1,1,1\n\n".encode()
    statement = Statement(io.BytesIO(content))
    list(statement.entries())
    assert statement.sha256 == hashlib.sha256(content).hexdigest()
