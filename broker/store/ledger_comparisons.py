"""What must agree within the ledger: a name, a statement that finds what does not, and how to tell it.

Each statement selects the key of a run, then what its text names.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    or_,
    select,
)

from broker.store.clock import now_ms
from broker.store.keys import ATTEMPT_COLUMNS, JOB_COLUMNS, RUN_COLUMNS
from broker.store.tables.corrections import corrections, reconciliations
from broker.store.tables.ledger import attempts, charges, jobs, terminals, verdicts
from broker.store.tables.set_aside import dead_letters

_LATE_MS: Final = 3_600_000
"""How long after its job's deadline the charge of an attempt may come, where another worker, taken for dead,
has ended the job before: until then what follows from the attempt is under way.
"""

_SUMS = (
    select(
        *(charges.c[name] for name in RUN_COLUMNS),
        func.sum(charges.c.nanodollars).label("nanodollars"),
        func.count().label("attempts"),
    )
    .group_by(*(charges.c[name] for name in RUN_COLUMNS))
    .subquery("sums")
)
_CHARGED: Final = func.coalesce(_SUMS.c.nanodollars, 0)
_CHARGES: Final = func.coalesce(_SUMS.c.attempts, 0)


def _same(one: FromClause, other: FromClause, columns: Sequence[str]) -> ColumnElement[bool]:
    return and_(*(one.c[name] == other.c[name] for name in columns))


def _text(document: ColumnElement[Any], name: str) -> ColumnElement[str]:
    found: ColumnElement[str] = document[name].as_string()
    return found


def _number(document: ColumnElement[Any], name: str) -> ColumnElement[int]:
    return cast(_text(document, name), BigInteger)


_TOKENS: Final = case(
    (
        charges.c.estimated,
        _number(attempts.c.hold, "input_tokens") + _number(attempts.c.hold, "output_tokens"),
    ),
    else_=func.coalesce(charges.c.input_tokens, 0) + func.coalesce(charges.c.output_tokens, 0),
)
"""As `schemas.state.Charge.tokens` counts them."""


def _of_verdicts(*amounts: ColumnElement[int]) -> Select[Any]:
    return select(*(verdicts.c[name] for name in RUN_COLUMNS), verdicts.c.attempt, *amounts).select_from(
        verdicts
    )


def _is_followed_by_a_charge() -> ColumnElement[bool]:
    """The outcome that brought a later attempt's charge has brought all before it."""
    later = charges.alias("later")
    return exists().where(_same(verdicts, later, RUN_COLUMNS), later.c.attempt > verdicts.c.attempt)


def _of_terminals(unequal: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*(terminals.c[name] for name in RUN_COLUMNS), terminals.c.nanodollars, _CHARGED)
        .select_from(terminals.outerjoin(_SUMS, _same(terminals, _SUMS, RUN_COLUMNS)))
        .where(unequal)
    )


def _charges_without(table: Table, columns: Sequence[str]) -> Select[Any]:
    return (
        select(*(charges.c[name] for name in RUN_COLUMNS), charges.c.attempt, charges.c.nanodollars)
        .select_from(charges.outerjoin(table, _same(charges, table, columns)))
        .where(table.c.job_id.is_(None))
    )


_BEFORE: Final = corrections.alias("before")
_CORRECTED: Final = corrections.outerjoin(charges, _same(corrections, charges, ATTEMPT_COLUMNS))


def _of_corrections(*more: ColumnElement[Any]) -> Select[Any]:
    named = (*(corrections.c[name] for name in ATTEMPT_COLUMNS), corrections.c.number)
    return select(*named, *more).select_from(_CORRECTED)


_CORRECTION_COMPARISONS: Final = (
    (
        "correction_without_charge",
        _of_corrections().where(or_(charges.c.job_id.is_(None), ~charges.c.estimated)),
        "attempt {}, correction {}: no estimated charge is there that it corrects",
    ),
    (
        "correction_place",
        _of_corrections().where(
            or_(
                *(
                    corrections.c[name] != charges.c[name]
                    for name in ("organization_id", "project_id", "key_id", "day", "month")
                )
            )
        ),
        "attempt {}, correction {}: project, key, day or month is not the charge's",
    ),
    (
        "correction_sum",
        _of_corrections(
            corrections.c.figure_nanodollars,
            corrections.c.nanodollars,
            func.coalesce(_BEFORE.c.figure_nanodollars, charges.c.nanodollars),
        )
        .outerjoin(
            _BEFORE,
            and_(_same(corrections, _BEFORE, ATTEMPT_COLUMNS), _BEFORE.c.number == corrections.c.number - 1),
        )
        .where(
            or_(
                and_(corrections.c.number == 1, _BEFORE.c.number.is_not(None)),
                and_(corrections.c.number != 1, _BEFORE.c.number.is_(None)),
                corrections.c.figure_nanodollars - corrections.c.nanodollars
                != func.coalesce(_BEFORE.c.figure_nanodollars, charges.c.nanodollars),
                corrections.c.figure_tokens - corrections.c.tokens
                != func.coalesce(_BEFORE.c.figure_tokens, charges.c.tokens),
            )
        ),
        "attempt {}, correction {}: it leads to {} nanodollars by {}, and before it there were {}",
    ),
    (
        "correction_without_reconciliation",
        _of_corrections(corrections.c.reconciliation_id)
        .outerjoin(reconciliations, reconciliations.c.id == corrections.c.reconciliation_id)
        .where(reconciliations.c.id.is_(None)),
        "attempt {}, correction {}: no reconciliation {} is on record",
    ),
)

COMPARISONS: Final = (
    *_CORRECTION_COMPARISONS,
    (
        "charges_less",
        _of_terminals(or_(terminals.c.nanodollars > _CHARGED, terminals.c.attempts > _CHARGES)),
        "terminal says {} nanodollars, its charges {}",
    ),
    (
        "charges_more",
        _of_terminals(or_(terminals.c.nanodollars < _CHARGED, terminals.c.attempts < _CHARGES)),
        "terminal says {} nanodollars, its charges {}",
    ),
    (
        "charge_without_terminal",
        _charges_without(terminals, RUN_COLUMNS),
        "attempt {} is charged {} nanodollars",
    ),
    (
        "charge_without_intent",
        _charges_without(attempts, ATTEMPT_COLUMNS),
        "attempt {} is charged {} nanodollars",
    ),
    (
        "charge_hold",
        select(
            *(charges.c[name] for name in ATTEMPT_COLUMNS),
            charges.c.hold_id,
            charges.c.hold_nanodollars,
            _text(attempts.c.hold, "id"),
            _number(attempts.c.hold, "nanodollars"),
        )
        .select_from(charges.join(attempts, _same(charges, attempts, ATTEMPT_COLUMNS)))
        .where(
            or_(
                charges.c.hold_id != _text(attempts.c.hold, "id"),
                charges.c.hold_nanodollars != _number(attempts.c.hold, "nanodollars"),
            )
        ),
        "attempt {} is charged for hold {} of {} nanodollars, and was begun with {} of {}",
    ),
    (
        "charge_place",
        select(
            *(charges.c[name] for name in ATTEMPT_COLUMNS),
            charges.c.project_id,
            charges.c.day,
            charges.c.minute,
            attempts.c.project_id,
            _number(attempts.c.hold, "day"),
            _number(attempts.c.hold, "minute"),
        )
        .select_from(charges.join(attempts, _same(charges, attempts, ATTEMPT_COLUMNS)))
        .where(
            or_(
                charges.c.project_id != attempts.c.project_id,
                charges.c.key_id != attempts.c.key_id,
                charges.c.day != _number(attempts.c.hold, "day"),
                charges.c.minute != _number(attempts.c.hold, "minute"),
            )
        ),
        "attempt {} is charged to project {}, day {}, minute {}; it was begun in {}, {}, {}, or by another",
    ),
    (
        "charge_tokens",
        select(*(charges.c[name] for name in ATTEMPT_COLUMNS), charges.c.tokens, _TOKENS)
        .select_from(charges.join(attempts, _same(charges, attempts, ATTEMPT_COLUMNS)))
        .where(charges.c.tokens != _TOKENS),
        "attempt {} counts {} tokens, and used or held {}",
    ),
    (
        "verdict_without_charge",
        _of_verdicts(_number(verdicts.c.charge, "nanodollars"))
        .join(terminals, _same(verdicts, terminals, RUN_COLUMNS))
        .outerjoin(charges, _same(verdicts, charges, ATTEMPT_COLUMNS))
        .outerjoin(jobs, _same(verdicts, jobs, JOB_COLUMNS))
        .where(
            charges.c.job_id.is_(None),
            _number(verdicts.c.charge, "nanodollars") > 0,
            or_(
                _is_followed_by_a_charge(), jobs.c.job_id.is_(None), jobs.c.deadline_ms < now_ms() - _LATE_MS
            ),
        ),
        "attempt {} cost {} nanodollars, and its run has ended without its charge",
    ),
    (
        "verdict_apart",
        _of_verdicts(_number(verdicts.c.charge, "nanodollars"), charges.c.nanodollars)
        .join(charges, _same(verdicts, charges, ATTEMPT_COLUMNS))
        .where(
            charges.c.verdict == verdicts.c.kind,
            charges.c.nanodollars != _number(verdicts.c.charge, "nanodollars"),
        ),
        "attempt {} cost {} nanodollars by its verdict, and is charged {}",
    ),
    (
        "dead_letter",
        select(*(terminals.c[name] for name in RUN_COLUMNS), terminals.c.reason)
        .outerjoin(dead_letters, _same(terminals, dead_letters, RUN_COLUMNS))
        .where(
            terminals.c.kind == "dead",
            or_(dead_letters.c.job_id.is_(None), dead_letters.c.reason != terminals.c.reason),
        ),
        "dead of {}, and no dead letter says so",
    ),
    (
        "dead_letter",
        select(*(dead_letters.c[name] for name in RUN_COLUMNS), dead_letters.c.coordinate)
        .outerjoin(terminals, _same(dead_letters, terminals, RUN_COLUMNS))
        .where(or_(terminals.c.job_id.is_(None), terminals.c.kind != "dead")),
        "a dead letter at {}, and its run did not end so",
    ),
    (
        "charge_over_hold",
        select(
            *(charges.c[name] for name in ATTEMPT_COLUMNS), charges.c.nanodollars, charges.c.hold_nanodollars
        ).where(charges.c.nanodollars > charges.c.hold_nanodollars),
        "attempt {} is charged {} nanodollars, and {} were held",
    ),
)
