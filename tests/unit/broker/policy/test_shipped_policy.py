"""config/policy.yaml is a policy that loads, and docs/policy.md speaks of what there is."""

import re
from pathlib import Path
from typing import Any

import pytest

from broker.policy.decision import decide
from broker.policy.detections import Detections
from broker.policy.document import Document, Example, Rule, RuleTests, Scope
from broker.policy.facts import FACTS
from broker.policy.injection import Detector
from broker.policy.revision import PolicyRevision
from broker.policy.sections import AnswerChecks, Dlp, Injection
from schemas.envelope import Tags
from tests.unit.broker.policy.jobs import job

ROOT = Path(__file__).parents[4]
POLICY = ROOT / "config" / "policy.yaml"
GUIDE = (ROOT / "docs" / "policy.md").read_text()
SHIPPED = PolicyRevision.load(POLICY.read_bytes())


def test_every_rule_of_it_that_can_be_tested_is_tested_both_ways() -> None:
    untested = {
        rule.id
        for rule in SHIPPED.document.rules
        if not (rule.tests.must_match and rule.tests.must_not_match)
    }
    assert untested == {"prompt-size-interactive"}  # its example would be a prompt of 200,000 characters


def test_an_ordinary_job_passes_it_untouched() -> None:
    facts = job(
        tags=Tags(department="research"), lane="interactive", request={"user": "u-1", "max_tokens": 500}
    )
    record = decide(facts, SHIPPED.compiled)
    assert (record.effect, record.rules, record.score) == ("allow", (), 0)


@pytest.mark.parametrize(
    ("types", "effect"),
    [
        ("SECRET", "deny"),
        ("CODENAME", "deny"),
        ("EMAIL", "redact"),
        ("IBAN", "redact"),
        ("IP_ADDRESS", "flag"),
    ],
)
def test_data_is_acted_on_by_type(types: str, effect: str) -> None:
    assert decide(job(detections=Detections(types=((types, 1),))), SHIPPED.compiled).effect == effect


def test_the_exception_lifts_what_is_ordinary_and_never_secrets() -> None:
    who: dict[str, Any] = {"project": "security", "application": "red-team"}
    attack = Detections(scores=(("user", 6_300),), types=(("CODENAME", 1),))
    assert decide(job(detections=attack, **who), SHIPPED.compiled).effect == "allow"
    secret = attack._replace(types=(("SECRET", 1),))
    assert decide(job(detections=secret, **who), SHIPPED.compiled).rule == "secret-never"


def test_it_flags_where_the_detector_would_and_says_where_that_is() -> None:
    thresholds = Detector.load().model.thresholds
    section = SHIPPED.document.injection
    assert section.flag_at is not None
    assert thresholds["fp_1"] <= section.flag_at < thresholds["fp_0_5"]
    told = (ROOT / "docs" / "detection.md").read_text()
    assert all(str(each) in told for each in thresholds.values())
    assert str(thresholds["fp_1"]) in POLICY.read_text()


@pytest.mark.parametrize("name", sorted(FACTS))
def test_the_guide_names_every_fact_with_its_kind(name: str) -> None:
    known = FACTS[name]
    assert re.search(
        rf"^\| `{re.escape(name)}` \| {known.kind} \| {'yes' if known.optional else ''}", GUIDE, re.MULTILINE
    )


def test_the_guide_names_no_other_fact() -> None:
    listed = set(
        re.findall(r"^\| `([a-z_.]+)` \| (?:string|int|double|bool|list of strings) \|", GUIDE, re.MULTILINE)
    )
    assert listed == set(FACTS)


@pytest.mark.parametrize("part", [Document, Rule, Scope, RuleTests, Example, Injection, Dlp, AnswerChecks])
def test_the_guide_names_every_field(part: type[Document]) -> None:
    assert [name for name in part.model_fields if f"`{name}`" not in GUIDE] == []


def test_every_document_in_the_guide_loads() -> None:
    documents = [text for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "version: 1" in text]
    assert len(documents) > 1
    for text in documents:
        PolicyRevision.load(text)
