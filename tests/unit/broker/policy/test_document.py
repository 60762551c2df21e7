"""The document as data: every fault named by line, rule and reason; one name for one content."""

from contextlib import suppress
from hashlib import sha256
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PolicyInvalid
from broker.policy.document import RULES_MAX, TESTS_MAX, Document, canonical, read_document

RULE = """\
version: 1
rules:
  - id: cap
    description: A cap.
    when: lane == "bulk"
    effect: deny
"""

CHECKS = "'length', 'forbidden_words', 'required_words', 'json_schema', 'prompt_leak' or 'tools'"


def too_long(entries_max: int) -> str:
    return f"Tuple should have at most {entries_max} items after validation, not {entries_max + 1}"


def refused(text: str) -> str:
    with pytest.raises(PolicyInvalid) as caught:
        read_document(text)
    assert caught.value.code == "policy_invalid"
    return str(caught.value)


def test_the_least_document_allows_everything() -> None:
    assert read_document("version: 1").document == Document(version=1)
    assert canonical(Document(version=1)) == b'{"version":1}'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "line 1: Input should be an object"),
        ("rules: []", "line 1: version: is missing"),
        ("version: 2", "line 1: version: Input should be 1"),
        ("version: 1\nrule: []", "line 2: rule: no such field"),
        (RULE + "    prio: 1", "line 7, rule cap: prio: no such field"),
        (RULE + "    priority: 1.5", "line 7, rule cap: priority: Input should be a valid integer"),
        (RULE + "    priority: '1'", "line 7, rule cap: priority: Input should be a valid integer"),
        (
            RULE + "    priority: 1001",
            "line 7, rule cap: priority: Input should be less than or equal to 1000",
        ),
        (
            RULE.replace("deny", "no"),
            "line 6, rule cap: effect: Input should be 'deny', 'review', 'redact', 'flag' or 'allow'",
        ),
        (
            RULE.replace("cap", "Big Cap"),
            "line 3, rule Big Cap: id: String should match pattern '^[a-z0-9][a-z0-9_-]{0,63}$'",
        ),
        (
            RULE.replace("cap", "injection.deny"),
            "line 3, rule injection.deny: id: String should match pattern '^[a-z0-9][a-z0-9_-]{0,63}$'",
        ),
        (RULE.replace("id: cap\n    ", ""), "line 3, rule number 1: id: is missing"),
        (RULE + "  - 7", "line 7, rule number 2: Input should be an object"),
        (
            RULE + "    mode: off",
            "line 7, rule cap: mode: Input should be 'monitor' or 'enforce'",
        ),
        (
            RULE + "    scope:\n      lane: [fast]",
            "line 8, rule cap: scope.lane.0: Input should be 'interactive', 'standard' or 'bulk'",
        ),
        (
            RULE + "    scope: {project: [a, a]}",
            "line 7, rule cap: scope.project: an entry stands here twice",
        ),
        (RULE + "    scope: {team: [a]}", "line 7, rule cap: scope.team: no such field"),
        (RULE + "    redact: [EMAIL]", "line 3, rule cap: `redact` goes with the effect redact alone"),
        (
            RULE.replace("deny", "redact") + "    redact: [EMAILS]",
            "line 7, rule cap: `EMAILS` is no known type of data",
        ),
        (
            RULE + "    contribution: 1001",
            "line 7, rule cap: contribution: Input should be less than or equal to 1000",
        ),
        (
            RULE + "    tests:\n      must_match:\n        - {dlp: {NONSUCH: 1}}",
            "line 9, rule cap: `NONSUCH` is no known type of data",
        ),
        (
            RULE + "    tests:\n      must_match:\n        - {injektion: 5}",
            "line 9, rule cap: tests.must_match.0.injektion: no such field",
        ),
        (
            RULE + "    tests:\n      must_match: [" + "{}, " * (TESTS_MAX + 1) + "]",
            f"line 8, rule cap: tests.must_match: {too_long(TESTS_MAX)}",
        ),
        (RULE + RULE.partition("rules:\n")[2], "line 7, rule cap: another rule has this id"),
        ("version: 1\ndlp:\n  request:\n    NONSUCH: block", "line 4: `NONSUCH` is no known type of data"),
        (
            "version: 1\ndlp:\n  request:\n    EMAIL: erase",
            "line 4: dlp.request.EMAIL: Input should be 'block', 'redact', 'tokenize' or 'flag'",
        ),
        (
            "version: 1\ndlp:\n  answer:\n    EMAIL: tokenize",
            "line 4: dlp.answer.EMAIL: Input should be 'block', 'redact' or 'flag'",
        ),
        ("version: 1\ndlp:\n  request:\n    PERSON: redact", "line 4: PERSON can be flagged and no more"),
        (
            "version: 1\ndlp:\n  dictionaries:\n    - type: EMAIL\n      words: [a]",
            "line 4: `EMAIL` is there already: take another name",
        ),
        (
            "version: 1\ndlp:\n  dictionaries: [{type: X, words: [a]}]\n  patterns: [{type: X, pattern: b}]",
            "line 4: `X` is there already: take another name",
        ),
        (
            "version: 1\ninjection:\n  flag_at: 80\n  deny_at: 80",
            "line 2: injection: flag_at, review_at and deny_at must ascend",
        ),
        (
            "version: 1\ninjection:\n  flag_at: 0",
            "line 3: injection.flag_at: Input should be greater than or equal to 1",
        ),
        (
            "version: 1\nanswer:\n  chars_max: 9\n  effects: {tools: flag}",
            "line 2: answer: an effect stands here for a check that is not made",
        ),
        (
            "version: 1\nanswer:\n  effects: {taste: flag}",
            f"line 3: answer.effects.taste: Input should be {CHECKS}",
        ),
    ],
)
def test_a_broken_document_is_refused_by_line_rule_and_reason(text: str, error: str) -> None:
    assert refused(text) == error


def test_the_first_fault_is_the_one_that_stands_first() -> None:
    assert refused(RULE.replace("deny", "no") + "\nnonsense: 1").startswith("line 6, rule cap")


def test_rules_are_bounded_in_number() -> None:
    rules = "".join(
        f"  - {{id: r{number}, description: d, when: 'true', effect: flag}}\n" for number in range(RULES_MAX)
    )
    assert len(read_document(f"version: 1\nrules:\n{rules}").document.rules) == RULES_MAX
    one_more = "  - {id: one-more, description: d, when: 'true', effect: flag}\n"
    assert f"at most {RULES_MAX} items" in refused(f"version: 1\nrules:\n{rules}{one_more}")


# the canonical form

NAMES = st.text("abc-1", min_size=1, max_size=4)
EXAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "lane": st.sampled_from(["bulk", "interactive"]),
        "injection": st.integers(0, 99),
        "request": st.fixed_dictionaries({"temperature": st.sampled_from([0, 0.5, 1])}),
        "regions": st.just(["eu"]),
    },
)
RULES = st.builds(
    lambda fields, more: fields | more,
    st.fixed_dictionaries(
        {
            "id": st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
            "description": st.sampled_from(["One.", "no: 'quoted' #thing", "Zwölf"]),
            "when": st.sampled_from(["true", 'lane == "bulk"', "has(request.n) && request.n > 3"]),
            "effect": st.sampled_from(["deny", "review", "flag", "allow"]),
        }
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "priority": st.integers(0, 9),
            "mode": st.sampled_from(["monitor", "enforce"]),
            "contribution": st.integers(-5, 5),
            "scope": st.fixed_dictionaries(
                {}, optional={"project": st.lists(NAMES, unique=True, max_size=3), "lane": st.just(["bulk"])}
            ),
            "tests": st.fixed_dictionaries({}, optional={"must_match": st.lists(EXAMPLES, max_size=2)}),
        },
    ),
)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(1), "rules": st.lists(RULES, max_size=4, unique_by=lambda rule: str(rule["id"]))},
    optional={
        "injection": st.sampled_from([{"flag_at": 5}, {"flag_at": 5, "deny_at": 9, "mode": "monitor"}]),
        "dlp": st.sampled_from(
            [{"request": {"EMAIL": "flag", "SECRET": "block"}}, {"answer": {"IBAN": "redact"}}]
        ),
    },
)


def name(text: str | bytes) -> str:
    return sha256(canonical(read_document(text).document)).hexdigest()


def dumped(document: dict[str, Any], **how: Any) -> str:
    """What PyYAML writes, without the anchors that it sets for parts that are one object."""
    text: str = yaml.safe_dump(orjson.loads(orjson.dumps(document)), **how)
    return text


def turned(value: Any) -> Any:
    """The same with the keys of all dictionaries in the reverse order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(entry) for entry in value] if isinstance(value, list) else value


@given(DOCUMENTS, st.data())
def test_layout_comments_and_order_say_nothing(document: dict[str, Any], data: st.DataObject) -> None:
    known = name(orjson.dumps(document))
    assert name(dumped(turned(document), sort_keys=False)) == known
    commented = dumped(document, allow_unicode=True, width=20).replace("\n", "  # why\n", 1)
    assert name(f"# what\n{commented}\n\n# end\n") == known
    shuffled = document | {"rules": data.draw(st.permutations(document["rules"]))}
    assert name(orjson.dumps(shuffled, option=orjson.OPT_INDENT_2)) == known


@given(DOCUMENTS)
def test_what_is_left_at_its_default_says_nothing(document: dict[str, Any]) -> None:
    spelled = read_document(orjson.dumps(document)).document.model_dump_json()
    assert name(spelled) == name(orjson.dumps(document))


@given(DOCUMENTS, DOCUMENTS)
def test_different_contents_have_different_names(one: dict[str, Any], other: dict[str, Any]) -> None:
    parsed = [read_document(orjson.dumps(document)).document for document in (one, other)]
    by_id = [
        document.model_copy(update={"rules": tuple(sorted(document.rules, key=lambda rule: rule.id))})
        for document in parsed
    ]
    assert (canonical(parsed[0]) == canonical(parsed[1])) == (by_id[0] == by_id[1])


@pytest.mark.parametrize(
    "changed",
    [
        RULE.replace("bulk", "standard"),
        RULE.replace("deny", "flag"),
        RULE.replace("A cap.", "A cap"),
        RULE + "    mode: monitor",
        RULE + "    priority: 1",
        RULE + "    tests: {must_match: [{}]}",
        RULE + "injection: {flag_at: 5}",
    ],
)
def test_whatever_is_changed_changes_the_name(changed: str) -> None:
    assert name(changed) != name(RULE)


def test_a_name_stays_what_it_was() -> None:
    """Revisions are kept by their names: this one may never change."""
    assert name(RULE) == "e665d810880573833b2b4c1a92861a23cebeda810d9090d3d3559f25ff9fc8b4"


# whatever comes in

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *Document.model_fields,
                    "id",
                    "when",
                    "effect",
                    "scope",
                    "tests",
                    "must_match",
                    "request",
                    "dlp",
                    "types",
                    "lane",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(VALUES)
def test_nothing_but_policy_invalid_comes_out(value: Any) -> None:
    with suppress(PolicyInvalid):
        read_document(orjson.dumps(value))


@given(DOCUMENTS, st.data())
def test_a_document_with_a_piece_cut_out_is_read_or_refused(
    document: dict[str, Any], data: st.DataObject
) -> None:
    text = dumped(document)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    with suppress(PolicyInvalid):
        read_document(text[:start] + text[end:])
