"""Any number of rows in one statement with one parameter, a JSON array of objects.

The same shape on both dialects: PostgreSQL unfolds the array with `json_populate_recordset`, SQLite with
`json_each`. A row is a mapping or a dataclass whose fields are columns of the table; all rows of a call have
the same fields. UUIDs and JSON columns are given as what they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    FromClause,
    Insert,
    Row,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[*tuple[Any, ...]]


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Any],
    returning: Sequence[str] = (),
    unless_in: Table | None = None,
) -> list[AnyRow]:
    """Insert what is not there yet, in the order of the primary key; `returning` those that were inserted.

    Rows that collide with what is there, or with one another, are left out, and so are rows whose key stands
    in `unless_in`. The order keeps two processes that insert the same rows from waiting for each other in a
    circle.
    """
    if not rows:
        return []
    statement = _insert(connection.dialect.name, table, _columns(rows[0]), tuple(returning), unless_in)
    result = await connection.execute(statement, {"rows": encode(rows)})
    return list(result.all()) if returning else []


async def select_by_keys(
    connection: AsyncConnection,
    table: Table,
    key_columns: Sequence[str],
    keys: Iterable[Sequence[Any]],
    columns: Sequence[str],
) -> list[AnyRow]:
    """Rows of `table` whose `key_columns` hold one of `keys`, in no order."""
    rows = [dict(zip(key_columns, key, strict=True)) for key in keys]
    if not rows:
        return []
    statement = _select(connection.dialect.name, table, tuple(key_columns), tuple(columns))
    result = await connection.execute(statement, {"rows": encode(rows)})
    return list(result.all())


def encode(rows: Sequence[Any]) -> str:
    """The parameter `rows` of a statement that reads from `unfolded`."""
    return orjson.dumps(rows, default=_plain).decode()


def unfolded(dialect: str, table: Table, columns: Sequence[str]) -> FromClause:
    """The parameter `rows`, unfolded into `columns` that are typed as those of `table`."""
    if dialect == "postgresql":
        array = cast(bindparam("rows", type_=Text), JSON)
        rows = func.json_populate_recordset(literal_column(f'NULL::"{table.name}"'), array)
        return rows.table_valued(*(Column(name, table.c[name].type) for name in columns), name="r")
    each = func.json_each(bindparam("rows", type_=Text)).table_valued("value")
    return select(*(_stored(each.c.value, table.c[name]) for name in columns)).subquery("r")


def _stored(value: ColumnElement[Any], column: Column[Any]) -> ColumnElement[Any]:
    """An object's field as SQLAlchemy stores it in SQLite: UUIDs as 32 hexadecimal digits, JSON as text."""
    path = f"$.{column.name}"
    if isinstance(column.type, JSON):
        return value.op("->")(path).label(column.name)
    field = func.json_extract(value, path)
    if isinstance(column.type, Uuid):
        field = func.replace(field, "-", "")
    return type_coerce(field, column.type).label(column.name)


def _columns(row: Any) -> tuple[str, ...]:
    return tuple(row) if isinstance(row, Mapping) else tuple(field.name for field in fields(row))


@lru_cache
def _insert(
    dialect: str, table: Table, columns: tuple[str, ...], returning: tuple[str, ...], unless_in: Table | None
) -> Insert:
    rows = unfolded(dialect, table, columns)
    # A condition there must be: without one SQLite reads ON CONFLICT as the ON of a join.
    condition = true() if unless_in is None else ~_stands_in(unless_in, rows)
    ordered = select(rows).where(condition).order_by(*(rows.c[key.name] for key in table.primary_key))
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table).from_select(columns, ordered).on_conflict_do_nothing()
    return statement.returning(*(table.c[name] for name in returning)) if returning else statement


def _stands_in(table: Table, rows: FromClause) -> ColumnElement[bool]:
    return exists().where(*(key == rows.c[key.name] for key in table.primary_key))


@lru_cache
def _select(dialect: str, table: Table, keys: tuple[str, ...], columns: tuple[str, ...]) -> Select[Any]:
    rows = select(unfolded(dialect, table, keys)).distinct().subquery("k")
    wanted = select(*(table.c[name] for name in columns))
    if dialect == "postgresql":
        # OFFSET keeps the planner from turning this round, looking for each row of the table among the keys.
        same = and_(*(table.c[name] == rows.c[name] for name in keys))
        found = wanted.where(same).offset(literal_column("0")).lateral("f")
        return select(*(found.c[name] for name in columns)).select_from(rows).join(found, true())
    return wanted.where(tuple_(*(table.c[name] for name in keys)).in_(select(rows)))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no JSON for {type(value).__name__}")
