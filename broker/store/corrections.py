"""Corrections of charges in the ledger: reads for whoever decides on them, and the one way to write them.

A charge is never changed. What is written here stands beside it, and both together are what it came to.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, cast, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit import chain
from broker.statements.deciding import Charged, Correction, Past
from broker.store.bulk import insert_rows, select_by_keys
from broker.store.clock import now_ms
from broker.store.driver import AnyRow
from broker.store.keys import ATTEMPT_COLUMNS, AttemptKey
from broker.store.tables.corrections import corrections, reconciliations, uncounted
from broker.store.tables.ledger import charges
from schemas.state import Usage, month_of

RECONCILE: Final = "ledger.reconcile"
"""The action of its entry in the chain of operations."""

_CHARGED: Final = (
    "organization_id",
    "project_id",
    "key_id",
    "model",
    "price_version",
    "estimated",
    "hold_nanodollars",
    "nanodollars",
    "tokens",
    "day",
    "month",
)
_PAST: Final = ("number", "input_tokens", "output_tokens", "figure_nanodollars", "figure_tokens", "usage")
# Plain texts: orjson takes no subclass of str, which the names of columns are, as a key.
_DIGESTED: Final = tuple(
    "".join(column.name) for column in corrections.c if column.name != "reconciliation_id"
)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What the fields are, `broker.store.tables.corrections.reconciliations` says."""

    id: int
    file_sha256: str
    reference: str | None
    operator: str
    rows: int
    nanodollars: int
    rows_sha256: str
    at_ms: int


class Share(NamedTuple):
    """What a reconciliation changed in the charges of one key on one day."""

    organization_id: int
    project_id: int
    key_id: str
    day: int
    month: int
    nanodollars: int
    tokens: int


async def charges_of(connection: AsyncConnection, keys: Collection[AttemptKey]) -> dict[AttemptKey, Charged]:
    """The charges that there are of these attempts, with their corrections."""
    rows = await select_by_keys(connection, charges, ATTEMPT_COLUMNS, keys, (*ATTEMPT_COLUMNS, *_CHARGED))
    found = [_attempt(row) for row in rows]
    past = await _past_of(connection, found)
    return {
        key: Charged(key=key, past=past.get(key, ()), **dict(zip(_CHARGED, row[4:], strict=True)))
        for key, row in zip(found, rows, strict=True)
    }


async def on_record(connection: AsyncConnection, keys: Collection[AttemptKey]) -> set[AttemptKey]:
    """Those of these attempts that are charged."""
    rows = await select_by_keys(connection, charges, ATTEMPT_COLUMNS, keys, ATTEMPT_COLUMNS)
    return {_attempt(row) for row in rows}


def _attempt(row: AnyRow) -> AttemptKey:
    """With the id as Python has it: the driver's own class of UUIDs is none to the writer of JSON."""
    application_id, job_id, run, attempt = row[:4]
    return AttemptKey(application_id, UUID(int=job_id.int), run, attempt)


async def _past_of(connection: AsyncConnection, keys: Collection[AttemptKey]) -> dict[AttemptKey, list[Past]]:
    columns = (*ATTEMPT_COLUMNS, "reconciliation_id", *_PAST)
    rows = await select_by_keys(connection, corrections, ATTEMPT_COLUMNS, keys, columns)
    files = await _files(connection, {row.reconciliation_id for row in rows})
    past: dict[AttemptKey, list[Past]] = {}
    for row in sorted(rows, key=lambda row: int(row.number)):
        past.setdefault(_attempt(row), []).append(_past(row, *files[row.reconciliation_id]))
    return past


def _past(row: AnyRow, file_sha256: str, reference: str | None) -> Past:
    content = dict(zip(_PAST, row[5:], strict=True))
    usage = content["usage"]
    content["usage"] = None if usage is None else Usage.model_validate(usage)
    return Past(**content, file_sha256=file_sha256, reference=reference)


async def _files(connection: AsyncConnection, ids: Collection[int]) -> dict[int, tuple[str, str | None]]:
    if not ids:
        return {}
    of = (reconciliations.c.id, reconciliations.c.file_sha256, reconciliations.c.reference)
    found = await connection.execute(select(*of).where(reconciliations.c.id.in_(ids)))
    return {row.id: (row.file_sha256, row.reference) for row in found}


async def write(
    connection: AsyncConnection,
    batch: Sequence[Correction],
    file_sha256: str,
    reference: str | None,
    operator: str,
    today: Callable[[int, int], int],
) -> Reconciliation:
    """One reconciliation, within an act (`broker.ops.changes`), which lets one at a time come here.

    `today`: the day of an organization, by the calendar that its charges go by, at a time in milliseconds.
    """
    last = select(func.coalesce(func.max(reconciliations.c.id), 0))
    number, at_ms = (await connection.execute(select(last.scalar_subquery() + 1, now_ms()))).one()
    rows = [_row(each, number, today(each.charge.organization_id, at_ms)) for each in batch]
    made = Reconciliation(
        id=number,
        file_sha256=file_sha256,
        reference=reference,
        operator=operator,
        rows=len(rows),
        nanodollars=sum(each.nanodollars for each in batch),
        rows_sha256=digest(rows),
        at_ms=at_ms,
    )
    await insert_rows(connection, corrections, rows)
    await insert_rows(connection, reconciliations, [made])
    await connection.execute(insert(uncounted).values(reconciliation_id=number))
    return made


def _row(correction: Correction, reconciliation_id: int, today: int) -> dict[str, Any]:
    charge, usage = correction.charge, correction.usage
    content = correction._asdict() | {"usage": usage and usage.model_dump(mode="json")}
    del content["charge"]
    return {
        **charge.key._asdict(),
        **content,
        "reconciliation_id": reconciliation_id,
        "organization_id": charge.organization_id,
        "project_id": charge.project_id,
        "key_id": charge.key_id,
        "day": charge.day,
        "month": charge.month,
        "billed_day": today,
        "billed_month": month_of(today),
    }


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of rows of `corrections` in the order of the key, without their `reconciliation_id`."""
    digested = hashlib.sha256()
    for row in sorted(rows, key=lambda row: (row["application_id"], str(row["job_id"]), *_place(row))):
        content = {name: row[name] for name in _DIGESTED} | {"job_id": str(row["job_id"])}
        digested.update(chain.canonical(content) + b"\n")
    return digested.hexdigest()


def _place(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return row["run"], row["attempt"], row["number"]


async def waiting_to_be_counted(connection: AsyncConnection) -> Sequence[int]:
    """The ids of reconciliations that the gate may not have been told of, in their order."""
    statement = select(uncounted.c.reconciliation_id).order_by(uncounted.c.reconciliation_id)
    return list(await connection.scalars(statement))


async def shares(connection: AsyncConnection, reconciliation_id: int) -> Sequence[Share]:
    by = tuple(corrections.c[name] for name in ("organization_id", "project_id", "key_id", "day", "month"))
    sums = (cast(func.sum(corrections.c[name]), BigInteger) for name in ("nanodollars", "tokens"))
    statement = select(*by, *sums).where(corrections.c.reconciliation_id == reconciliation_id).group_by(*by)
    return [Share(*row) for row in await connection.execute(statement)]


async def counted(connection: AsyncConnection, reconciliation_id: int) -> None:
    """The gate has it."""
    await connection.execute(delete(uncounted).where(uncounted.c.reconciliation_id == reconciliation_id))
