"""Which policy decides, from the command line."""

import json
from pathlib import Path

import pytest

from tests.unit.headworks.cli.conftest import Invoke

FIRST = "version: 1\ndescription: The first.\ndlp: {request: {EMAIL: flag}}\n"
SECOND = "version: 1\ndescription: The second.\ndlp: {request: {EMAIL: redact}}\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("first", FIRST), ("second", SECOND)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml")


def test_a_document_is_activated_listed_shown_and_taken_back(
    project: str, invoke: Invoke, files: tuple[str, str]
) -> None:
    first, second = files
    assert "decides for default." in invoke(f"policy activate {first}").stderr
    assert "Nothing changed for default." in invoke(f"policy activate {first}").stderr
    assert "decides for acme/search." in invoke(f"policy activate {second} --project {project}").stderr
    assert invoke("policy show").stdout == FIRST
    assert invoke(f"policy show --project {project}").stdout == SECOND
    rows = json.loads(invoke("policy list --json").stdout)
    assert [(row["decides_for"], row["shadows"]) for row in rows] == [(["default"], []), ([project], [])]
    assert invoke("policy show", rows[1]["revision"][:10]).stdout == SECOND
    assert "itself any more" in invoke(f"policy rollback --project {project}").stderr
    failed = invoke("policy rollback")
    assert (failed.exit_code, failed.stderr) == (
        1,
        "error [conflict]: there is no revision to go back to\n",
    )


def test_a_candidate_goes_into_the_shadow_and_out_of_it(
    project: str, invoke: Invoke, files: tuple[str, str]
) -> None:
    first, second = files
    invoke(f"policy activate {first}")
    assert "is in the shadow for default." in invoke(f"policy shadow {second}").stderr
    assert json.loads(invoke("policy list --json").stdout)[1]["shadows"] == ["default"]
    assert invoke("policy shadow --off").exit_code == 0
    assert json.loads(invoke("policy list --json").stdout)[1]["shadows"] == []
    assert invoke("policy shadow").exit_code == 2
    assert invoke(f"policy shadow {first} --off").exit_code == 2


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("version: 1\nrules: no\n", "error [policy_invalid]: line 2: rules"),
        ("version: 1\nanswer: {forbidden_words: [' ']}\n", "line 2: a word is something other than spaces"),
    ],
)
def test_a_document_that_is_not_right_changes_nothing(
    project: str, invoke: Invoke, tmp_path: Path, document: str, told: str
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(document)
    failed = invoke(f"policy activate {file}")
    assert failed.exit_code == 1
    assert told in failed.stderr
    assert invoke("policy list").stderr == "None yet.\n"
    assert "no policy is active" in invoke("policy show").stderr


def test_a_job_that_nobody_sent_cannot_be_explained(project: str, invoke: Invoke) -> None:
    failed = invoke("policy explain 019b76da-a800-7d3f-8a5b-1c2d3e4f5061")
    assert failed.exit_code == 1
    assert "error [not_found]: no job" in failed.stderr
