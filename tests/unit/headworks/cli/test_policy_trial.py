"""Documents, detectors and revisions, tried from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.policy.injection import Detector
from headworks.cli import app
from tests.unit.broker.policy.jobs import rule
from tests.unit.headworks.cli.conftest import Invoke
from tests.unit.headworks.trial.test_evaluate import INJECTIONS, SPANS, written
from tests.unit.headworks.trial.test_replay import BATCH, ENVELOPE
from tests.unit.headworks.trial.test_scan import ATTACK, MAIL

SHIPPED = Path(__file__).parents[4] / "config" / "policy.yaml"
TESTED = rule(
    "hot",
    "has(request.temperature) && request.temperature > 1.0",
    tests={"must_match": [{"request": {"temperature": 1.5}}], "must_not_match": [{}]},
)


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> None:
    monkeypatch.setattr(Detector, "load", lambda: detector)


def document(path: Path, *rules: dict[str, Any], **sections: Any) -> Path:
    """YAML takes JSON as it is."""
    path.write_text(json.dumps({"version": 1, "rules": rules, **sections}, indent=1))
    return path


def test_a_document_that_may_be_used_is_told_by_what_it_has(invoke: Invoke, tmp_path: Path) -> None:
    path = document(tmp_path / "p.yaml", TESTED, rule("seen", mode="monitor"), injection={"flag_at": 9})
    result = invoke("policy test --json", str(path))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert len(told.pop("revision")) == 64
    assert told == {
        "valid": True, "description": "", "rules": 2, "enforced": 1, "monitored": 1, "tests": 2,
        "untested": ["seen"], "sections": ["injection"],
    }  # fmt: skip


def test_the_shipped_document_may_be_used(invoke: Invoke) -> None:
    result = invoke("policy test", str(SHIPPED))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("valid        yes\n")


@pytest.mark.parametrize(
    ("broken", "rule_id", "reason"),
    [
        (TESTED | {"when": "false"}, "hot", "should match and does not"),
        (TESTED | {"when": "nothing"}, "hot", "when: "),
        (TESTED | {"effect": "explode"}, "hot", "effect: "),
    ],
)
def test_a_broken_document_is_told_by_line_rule_and_reason(
    invoke: Invoke, tmp_path: Path, broken: dict[str, Any], rule_id: str, reason: str
) -> None:
    path = document(tmp_path / "p.yaml", broken)
    result = invoke("policy test", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    told = json.loads(invoke("policy test --json", str(path)).stdout)
    assert (told["valid"], told["rule"]) == (False, rule_id)
    assert told["reason"].startswith(reason)
    assert result.stderr == (
        f"error [policy_invalid]: line {told['line']}, rule {rule_id}: {told['reason']}\n"
    )
    assert invoke("policy test --json", str(path)).exit_code == 1


def test_labelled_rows_are_judged(invoke: Invoke, tmp_path: Path) -> None:
    files = [str(written(tmp_path / "i.jsonl", INJECTIONS)), str(written(tmp_path / "s.jsonl", SPANS))]
    result = invoke("policy eval", *files)
    assert result.exit_code == 0, result.output
    shown = [row.split() for row in result.stdout.splitlines()]
    assert ["core", "100.0", "%", "0.0", "%", "100.0", "%", "1", "1", "1", "0"] in shown
    assert ["indirect_task", "0.0", "%", "-", "-", "1", "0", "0", "0"] in shown
    assert ["EMAIL", "100.0", "%", "100.0", "%", "1", "1", "1"] in shown
    assert "PERSON is found by plug-ins alone, beside policy (docs/policy.md)." in " ".join(
        result.stdout.split()
    )
    assert result.stdout.count(" ms at p99\n") == 2
    told = json.loads(invoke("policy eval --json", *files).stdout)
    assert told["files"] == files
    assert told["injections"]["by_source"]["a"]["recall"] == 1.0
    assert told["spans"]["overall"]["recall"] == 0.5


def test_a_file_of_one_kind_gives_figures_of_one_kind(invoke: Invoke, tmp_path: Path) -> None:
    told = json.loads(invoke("policy eval --json", str(written(tmp_path / "s", SPANS))).stdout)
    assert set(told) == {"files", "spans"}


def test_rows_are_judged_by_a_policy(invoke: Invoke, tmp_path: Path) -> None:
    policy = document(tmp_path / "p.yaml", injection={"flag_at": 1_000_000})
    path = written(tmp_path / "i", INJECTIONS)
    told = json.loads(invoke("policy eval --json", str(path), "--policy", str(policy)).stdout)
    assert (told["injections"]["flag_at"], told["injections"]["core"]["recall"]) == (1_000_000, 0.0)


def test_a_malformed_row_is_one_line_of_error(invoke: Invoke, tmp_path: Path) -> None:
    path = written(tmp_path / "s", [SPANS[0], SPANS[1] | {"spans": [{"start": 0, "end": 99, "type": "P"}]}])
    result = invoke("policy eval", str(path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error [evaluation_row_invalid]: {path}, line 2: spans[0]: not within the text of 7 characters\n"
    )


def test_a_scan_writes_a_line_a_row(invoke: Invoke, tmp_path: Path) -> None:
    path = written(tmp_path / "t", [{"text": ATTACK}, {"text": MAIL, "label": "ignored"}])
    result = invoke("policy scan", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    attack, mail = map(json.loads, result.stdout.splitlines())
    assert (attack["flagged"], mail["flagged"]) == (True, False)
    assert mail["spans"] == [{"start": 9, "end": 24, "type": "EMAIL"}]


def test_a_scan_reads_standard_input_and_ends_at_a_malformed_row() -> None:
    given = '{"text": "one"}\n{"text": "two"}\n{"text": null}\n{"text": "four"}\n'
    result = CliRunner().invoke(app, ["policy", "scan", "-"], input=given)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == "error [evaluation_row_invalid]: line 3: text: not a string\n"


def test_a_file_that_is_not_there_is_wrong_usage(invoke: Invoke, tmp_path: Path) -> None:
    path = str(document(tmp_path / "p.yaml"))
    for command in (
        ["scan", "nowhere"],
        ["diff", path, path, "nowhere"],
        ["diff", path, "nowhere", path],
        ["diff", path, path],
        ["diff", path, path, path, "--topic", "jobs.bulk"],
        ["eval", "nowhere"],
        ["test", "nowhere"],
    ):
        assert invoke("policy", *command).exit_code == 2


@pytest.fixture
def documents(tmp_path: Path) -> list[str]:
    mini = 'request.model == "gpt-4o-mini"'
    old = document(tmp_path / "old.yaml", rule("mini", mini, effect="flag"))
    new = document(
        tmp_path / "new.yaml",
        rule("mini", mini, effect="flag"),
        rule("no-mini", mini, scope={"project": ["support"], "lane": ["bulk"]}),
        rule("eu", mini, effect="flag", regions=["eu"]),
    )
    return [str(old), str(new)]


def test_what_changes_from_one_document_to_another_is_listed(
    invoke: Invoke, tmp_path: Path, documents: list[str]
) -> None:
    jobs = str(written(tmp_path / "jobs", [ENVELOPE, BATCH, {}]))
    result = invoke("policy diff", *documents, jobs)
    assert result.exit_code == 0, result.output
    assert [row.split() for row in result.stdout.splitlines()] == [
        ["line", "job", "before", "after", "rules", "gained", "rules", "lost"],
        ["2", "a-1", "flag", "flag", "in", "eu", "eu", "-"],
    ]
    assert result.stderr == (
        "1 of 2 jobs change.\nNo jobs, or not such as pass: 1; first, line 3: version: Field required\n"
    )


def test_the_changes_as_json_name_both_decisions(
    invoke: Invoke, tmp_path: Path, documents: list[str]
) -> None:
    jobs = str(written(tmp_path / "jobs", [BATCH, ENVELOPE]))
    options = ["--project", "acme/support", "--lane", "bulk", "--region", "eu"]
    told = json.loads(invoke("policy diff --json", *documents, jobs, *options).stdout)
    [change] = told["changes"]
    assert (told["compared"], told["changed"], told["refused"]) == (2, 1, 0)
    assert (change["line"], change["label"], change["gained"]) == (1, "a-1", ["eu", "no-mini"])
    assert (change["before"]["effect"], change["after"]["effect"]) == ("flag", "deny")
    assert change["after"]["revision"] == told["after"] != told["before"]
    assert "sesame" not in json.dumps(told)


def test_a_long_list_is_cut_for_people(invoke: Invoke, tmp_path: Path, documents: list[str]) -> None:
    jobs = str(written(tmp_path / "jobs", [BATCH] * 101))
    result = invoke("policy diff", *documents, jobs)
    assert len(result.stdout.splitlines()) == 101
    assert "The first 100 of them; --json has all.\n101 of 101 jobs change.\n" in result.stderr
    assert len(json.loads(invoke("policy diff --json", *documents, jobs).stdout)["changes"]) == 101


def test_a_file_without_a_job_is_an_error(invoke: Invoke, tmp_path: Path, documents: list[str]) -> None:
    result = invoke("policy diff", *documents, str(written(tmp_path / "jobs", SPANS)))
    assert result.exit_code == 1
    assert result.stderr == "error [evaluation_row_invalid]: line 1: version: Field required\n"


def test_a_broken_document_is_named_with_its_file(
    invoke: Invoke, tmp_path: Path, documents: list[str]
) -> None:
    broken = str(document(tmp_path / "broken.yaml", rule(effect="explode")))
    result = invoke("policy diff", documents[0], broken, str(written(tmp_path / "jobs", [BATCH])))
    assert result.exit_code == 1
    assert result.stderr.startswith("error [policy_invalid]: line ")
    assert result.stderr.endswith(f" (in {broken})\n")


def test_answers_of_a_file_are_judged_by_a_document(invoke: Invoke, tmp_path: Path) -> None:
    policy = str(document(tmp_path / "p.yaml", dlp={"answer": {"EMAIL": "redact"}}, answer={"chars_max": 40}))
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Whom shall I ask?"}]}
    texts = ("Ask Joe.", "Ask joe@example.com.", "Ask anybody but joe@example.com, who is ill today.")
    rows = [{"request": request, "response": {"choices": [{"message": {"content": text}}]}} for text in texts]
    path = str(written(tmp_path / "answers", rows))
    told = json.loads(invoke("policy test --json", policy, "--answers", path).stdout)
    assert told["valid"]
    assert [(row["line"], row["effect"], row["rules"]) for row in told["answers"]] == [
        (1, "allow", []),
        (2, "redact", ["dlp.answer.email"]),
        (3, "deny", ["answer.length", "dlp.answer.email"]),
    ]
    shown = invoke("policy test", policy, "--answers", path)
    assert shown.exit_code == 0, shown.output
    assert "dlp.answer.email" in shown.stdout
    assert "joe@" not in shown.stdout


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"request": {}}, "response: must be an object"),
        ({"request": {"model": "m"}, "response": {}}, "messages: is required"),
        ({"request": {}, "response": {}, "endpoint": "/v1/images"}, "endpoint: must be one of"),
        ([], "row: must be an object"),
    ],
)
def test_a_malformed_answer_is_one_line_of_error(invoke: Invoke, tmp_path: Path, row: Any, told: str) -> None:
    policy = str(document(tmp_path / "p.yaml", answer={"chars_max": 40}))
    result = invoke("policy test", policy, "--answers", str(written(tmp_path / "a", [row])))
    assert result.exit_code == 1
    assert f"line 1: {told}" in result.stderr
