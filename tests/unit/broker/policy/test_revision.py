"""A document decides only after it was compiled, tried on jobs of every shape, and passed its own tests."""

from hashlib import sha256
from typing import Any

import pytest

from broker.errors import PolicyInvalid
from broker.policy.document import canonical
from broker.policy.finding import finder_of
from broker.policy.revision import PolicyRevision
from broker.policy.sections import Dlp
from tests.unit.broker.policy.jobs import revision, rule

RULE = "version: 1\nrules:\n  - id: r\n    description: A rule.\n    effect: {effect}\n    when: '{when}'\n"
FAILS = (
    "when: fails on an ordinary job or yields no boolean, as where a text is compared with a number, "
    "or an entry is read that a list may lack"
)


def text(when: str, effect: str = "deny", tests: str = "") -> str:
    return RULE.format(when=when, effect=effect) + tests


def refused(document: str) -> str:
    with pytest.raises(PolicyInvalid) as caught:
        PolicyRevision.load(document)
    return str(caught.value)


def test_a_revision_is_named_by_its_content_and_keeps_its_text() -> None:
    loaded = PolicyRevision.load(text("true"))
    assert loaded.id == sha256(canonical(loaded.document)).hexdigest() == loaded.compiled.revision
    assert loaded.text == text("true")
    assert PolicyRevision.load(f"# why\n{text('true')}".encode()).id == loaded.id
    assert PolicyRevision.load(text("false")).id != loaded.id


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (text("lane == bulk"), "line 6, rule r: when: `bulk` is no fact"),
        (text("lane =="), "line 6, rule r: when: line 1 of the condition, column 8: Syntax error"),
        (text("request.model > 3"), f"line 6, rule r: {FAILS}"),
        (text("size(request.tools)"), f"line 6, rule r: {FAILS}"),
        (text('request.tools[0] == "x"'), f"line 6, rule r: {FAILS}"),
        (text("has(request.n) || request.n > 3"), f"line 6, rule r: {FAILS}"),
        (text("answer.chars > 3", "review"), "line 5, rule r: effect: an answer cannot be held for review"),
        (
            text("answer.chars > 3", "flag", "    regions: [eu]"),
            "line 7, rule r: regions: the job has been routed already",
        ),
        (
            text("true", tests="    tests:\n      must_not_match:\n        - lane: bulk\n        - {}"),
            "line 9, rule r: should not match and does",
        ),
        (
            text("false", tests="    tests:\n      must_match:\n        - {}"),
            "line 9, rule r: should match and does not",
        ),
        (
            text(
                "1 / (request.messages.count - 4) >= 0",
                tests="    tests: {must_match: [{request: {messages: ["
                + "{role: user, content: x}, " * 4
                + "]}}]}",
            ),
            "line 7, rule r: the condition fails on this test",
        ),
        (
            text("true", tests="    tests:\n      must_match:\n        - request: {temprature: 1}"),
            "line 7, rule r: a test's request would be refused: temprature is not among the parameters",
        ),
        (
            "version: 1\ndlp:\n  patterns:\n    - type: X\n      pattern: (",
            "line 5: X: not an RE2 pattern: missing ): (",
        ),
        (
            "version: 1\ndlp:\n  patterns:\n    - type: X\n      pattern: a*",
            "line 5: pattern 'X' matches where nothing stands: it would find every place",
        ),
        (
            "version: 1\ndlp:\n  phone_regions: [US, XX]",
            "line 3: region 'XX' has no telephone numbers: name an ISO 3166 code such as US or DE",
        ),
    ],
)
def test_what_would_not_work_is_refused_before_it_decides(document: str, error: str) -> None:
    assert refused(document).startswith(error)


@pytest.mark.parametrize(
    ("when", "scope", "example"),
    [
        ("true", {"project": ["a", "b"]}, {}),
        ("true", {"lane": ["bulk"], "model": ["m"], "application": ["x"], "organization": ["o"]}, {}),
        ('request.model == "m"', {}, {"request": {"model": "m"}}),
        ('lane == "bulk"', {}, {"lane": "bulk"}),
        (
            'project == "p" && organization == "o" && application == "a"',
            {},
            {"project": "p", "organization": "o", "application": "a"},
        ),
        ("injection.user == 60 && injection.score == 60", {}, {"injection": 60}),
        ("injection.tool == 60 && injection.user == 5", {}, {"injection": {"tool": 60, "user": 5}}),
        ('"a.b" in injection.rules', {}, {"injection_rules": ["a.b"]}),
        ("dlp.request.EMAIL == 3", {}, {"dlp": {"EMAIL": 3}}),
        ("dlp.answer.EMAIL == 3", {}, {"answer": {"dlp": {"EMAIL": 3}}}),
        (
            '"length" in answer.findings && answer.chars == 7',
            {},
            {"answer": {"findings": ["length"], "chars": 7}},
        ),
        ('has(tags.user) && tags.user == "u"', {}, {"tags": {"user": "u"}}),
        ('"eu" in regions', {}, {"regions": ["eu"]}),
        ('request.endpoint == "/v1/embeddings"', {}, {"endpoint": "/v1/embeddings"}),
    ],
)
def test_an_example_says_what_matters_and_the_scope_fills_in_the_rest(
    when: str, scope: dict[str, Any], example: dict[str, Any]
) -> None:
    assert revision(rule(when=when, scope=scope, tests={"must_match": [example]}))
    with pytest.raises(PolicyInvalid, match="should not match and does"):
        revision(rule(when=when, scope=scope, tests={"must_not_match": [example]}))


def test_an_example_out_of_scope_does_not_match() -> None:
    assert revision(rule(scope={"lane": ["bulk"]}, tests={"must_not_match": [{"lane": "standard"}]}))


def test_the_section_finds_its_own_types_beside_the_built_in_ones() -> None:
    loaded = revision(
        dlp={
            "dictionaries": [{"type": "CODENAME", "words": ["Project Millrace"]}],
            "patterns": [{"type": "TICKET", "pattern": r"\bSEC-[0-9]{4}\b"}],
        }
    )
    found = finder_of(loaded.document.dlp).find("project millrace, SEC-1234, write to jo@example.com")
    assert [span.type for span in found] == ["CODENAME", "TICKET", "EMAIL"]


def test_persons_are_found_by_none_of_it() -> None:
    assert finder_of(Dlp()).find("Jo writes") == ()
