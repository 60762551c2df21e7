"""A document's rules and sections as one list of clauses, which alone are decided on.

A section is shorthand: `injection.deny_at: 80` is the rule `injection.deny` with `injection.score >= 80`, and
`dlp.request.EMAIL: redact` the rule `dlp.request.email` with `dlp.request.EMAIL > 0`. So everything that
decides has an id, a condition, a priority and a mode, and is explained in the same way.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Final, Literal, NamedTuple

from broker.policy.document import Document, Rule, Scope
from broker.policy.sections import AnswerChecks, Dlp, Injection
from broker.policy.terms import Effect, Mode
from broker.policy.yaml_tree import Path

How = Literal["redact", "tokenize"]
"""A placeholder that names the type, or a token that the answer's way back turns into the text again."""

_EFFECTS: Final[dict[str, Effect]] = {
    "block": "deny",
    "redact": "redact",
    "tokenize": "redact",
    "flag": "flag",
}


class Clause(NamedTuple):
    id: str
    when: str
    effect: Effect
    priority: int
    mode: Mode
    contribution: int | None
    """None: the score of the injection detector."""
    path: Path
    """Where it stands in the document."""
    scope: Scope = Scope()
    redact: tuple[str, ...] = ()
    how: How = "redact"
    regions: tuple[str, ...] = ()
    band: tuple[int, int] | None = None
    """`when` in other words, where it asks for an injection score from the first to below the second: scores
    differ from job to job, and to compare them takes a tenth of what the interpreter takes.
    """


def clauses(document: Document) -> tuple[Clause, ...]:
    """By falling priority, then by id."""
    every = chain(
        (_of_rule(rule, number) for number, rule in enumerate(document.rules)),
        _of_injection(document.injection),
        _of_dlp(document.dlp),
        _of_answer(document.answer),
    )
    return tuple(sorted(every, key=lambda clause: (-clause.priority, clause.id)))


def _of_rule(rule: Rule, number: int) -> Clause:
    return Clause(
        id=rule.id,
        when=rule.when,
        effect=rule.effect,
        priority=rule.priority,
        mode=rule.mode,
        contribution=rule.contribution,
        path=("rules", number),
        scope=rule.scope,
        redact=rule.redact,
        regions=rule.regions,
    )


def _of_injection(section: Injection) -> Iterator[Clause]:
    """Bands that exclude each other, so that the score counts once."""
    bands: list[tuple[Effect, int | None]] = [
        ("flag", section.flag_at),
        ("review", section.review_at),
        ("deny", section.deny_at),
    ]
    set_ = [(effect, at) for effect, at in bands if at is not None]
    for number, (effect, at) in enumerate(set_):
        end = set_[number + 1][1] if number + 1 < len(set_) else None
        below = "" if end is None else f" && injection.score < {end}"
        yield Clause(
            id=f"injection.{effect}",
            when=f"injection.score >= {at}{below}",
            effect=effect,
            priority=section.priority,
            mode=section.mode,
            contribution=None,
            path=("injection", f"{effect}_at"),
            band=(at, sys.maxsize if end is None else end),
        )


def _of_dlp(section: Dlp) -> Iterator[Clause]:
    for direction, effects in (("request", section.request), ("answer", section.answer)):
        for type_, action in effects.items():
            yield Clause(
                id=f"dlp.{direction}.{type_.lower()}",
                when=f"dlp.{direction}.{type_} > 0",
                effect=_EFFECTS[action],
                priority=section.priority,
                mode=section.mode,
                contribution=section.contribution,
                path=("dlp", direction, type_),
                redact=(type_,) if _EFFECTS[action] == "redact" else (),
                how="tokenize" if action == "tokenize" else "redact",
            )


def _of_answer(section: AnswerChecks) -> Iterator[Clause]:
    for check in section.checks:
        yield Clause(
            id=f"answer.{check}",
            when=f"answer.findings.exists(check, check == '{check}')",
            effect=section.effects.get(check, "deny"),
            priority=section.priority,
            mode=section.mode,
            contribution=section.contribution,
            path=("answer",),
        )
