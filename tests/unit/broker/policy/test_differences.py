"""What changes from one revision to another, listed and counted."""

from broker.policy.decision import decide
from broker.policy.differences import Differences, compare, diff
from broker.policy.facts import Facts
from broker.policy.revision import PolicyRevision
from tests.unit.broker.policy.jobs import job, revision, rule

BEFORE = revision(rule("bulk", 'lane == "bulk"', effect="flag"), rule("same", "true", effect="flag"))
AFTER = revision(rule("bulk-now", 'lane == "bulk"'), rule("same", "true", effect="flag", contribution=9))
JOBS = [("first", job(lane="bulk")), ("second", job()), ("third", job(lane="bulk"))]


def test_what_changes_is_listed_with_both_records() -> None:
    changes = list(diff(BEFORE.compiled, AFTER.compiled, JOBS))
    assert [change.label for change in changes] == ["first", "third"]
    assert [(change.before.effect, change.after.effect) for change in changes] == [("flag", "deny")] * 2
    assert (changes[0].gained, changes[0].lost) == (("bulk-now",), ("bulk",))
    assert changes[0].after == decide(JOBS[0][1], AFTER.compiled)


def test_a_revision_does_not_differ_from_itself_nor_by_scores_or_monitored_rules() -> None:
    watched = revision(
        rule("bulk", 'lane == "bulk"', effect="flag", contribution=3),
        rule("same", "true", effect="flag"),
        rule("watched", "true", mode="monitor"),
    )
    assert list(diff(BEFORE.compiled, BEFORE.compiled, JOBS)) == []
    assert list(diff(BEFORE.compiled, watched.compiled, JOBS)) == []


def difference(before: PolicyRevision, after: PolicyRevision, facts: Facts) -> bool:
    return compare("job", decide(facts, before.compiled), decide(facts, after.compiled)) is not None


def test_redactions_and_regions_are_differences() -> None:
    plain = revision(rule(effect="flag"))
    assert difference(plain, revision(rule(effect="flag", regions=["eu"])), job())
    assert not difference(plain, plain, job())


def test_differences_are_counted_by_effect_and_by_rule() -> None:
    counts = Differences()
    for label, facts in JOBS:
        counts = counts.count(compare(label, decide(facts, BEFORE.compiled), decide(facts, AFTER.compiled)))
    assert (counts.compared, counts.changed) == (3, 2)
    assert counts.effects == {("flag", "deny"): 2}
    assert counts.gained == {"bulk-now": 2}
    assert counts.lost == {"bulk": 2}
    assert Differences() == Differences(0, 0, {}, {}, {})
