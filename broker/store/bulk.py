"""Any number of rows in one statement with one parameter, a JSON array of objects.

The same shape on both dialects: PostgreSQL unfolds the array with `json_populate_recordset`, SQLite with
`json_each`. A row is a mapping or a dataclass whose fields are columns of the table; all rows of a call have
the same fields. UUIDs and JSON columns are given as what they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel
from sqlalchemy import JSON, Row, Table, TextClause, Uuid, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_rows(
    connection: AsyncConnection, table: Table, rows: Sequence[Any], returning: Sequence[str] = ()
) -> list[Row[Any]]:
    """Insert what is not there yet, in the order of the primary key; `returning` those that were inserted.

    Rows that collide with what is there, or with one another, are left out. The order keeps two processes
    that insert the same rows from waiting for each other in a circle.
    """
    if not rows:
        return []
    statement = _insert(connection.dialect.name, table, _columns(rows[0]), tuple(returning))
    result = await connection.execute(statement, {"rows": encode(rows)})
    return list(result.all()) if returning else []


async def select_by_keys(
    connection: AsyncConnection,
    table: Table,
    key_columns: Sequence[str],
    keys: Iterable[Sequence[Any]],
    columns: Sequence[str],
) -> list[Row[Any]]:
    """Rows of `table` whose `key_columns` hold one of `keys`, in no order."""
    rows = [dict(zip(key_columns, key, strict=True)) for key in keys]
    if not rows:
        return []
    statement = _select(connection.dialect.name, table, tuple(key_columns), tuple(columns))
    result = await connection.execute(statement, {"rows": encode(rows)})
    return list(result.all())


async def delete_by_keys(
    connection: AsyncConnection, table: Table, key_columns: Sequence[str], keys: Iterable[Sequence[Any]]
) -> None:
    """Delete the rows whose `key_columns` hold one of `keys`."""
    rows = [dict(zip(key_columns, key, strict=True)) for key in keys]
    if rows:
        statement = _delete(connection.dialect.name, table, tuple(key_columns))
        await connection.execute(statement, {"rows": encode(rows)})


def encode(rows: Sequence[Any]) -> str:
    return orjson.dumps(rows, default=_plain).decode()


def source(dialect: str, table: Table, columns: Sequence[str]) -> str:
    """The FROM item that unfolds `:rows` into `columns`, typed as the table's."""
    if dialect == "postgresql":
        return f"json_populate_recordset(NULL::{quoted(table.name)}, CAST(:rows AS json)) AS r"
    values = ", ".join(f"{_sqlite_value(table, name)} AS {quoted(name)}" for name in columns)
    return f"(SELECT {values} FROM json_each(:rows)) AS r"


def quoted(name: str) -> str:
    return f'"{name}"'


def _columns(row: Any) -> tuple[str, ...]:
    return tuple(row) if isinstance(row, Mapping) else _fields(type(row))


@lru_cache
def _fields(kind: type) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"a row is a mapping or a dataclass, not {kind.__name__}")
    return tuple(field.name for field in fields(kind))


@lru_cache
def _insert(dialect: str, table: Table, columns: tuple[str, ...], returning: tuple[str, ...]) -> TextClause:
    names = ", ".join(map(quoted, columns))
    order = ", ".join(quoted(column.name) for column in table.primary_key)
    # `WHERE true` keeps SQLite from reading ON CONFLICT as the ON of a join.
    statement = (
        f"INSERT INTO {quoted(table.name)} ({names}) SELECT {names} FROM {source(dialect, table, columns)} "
        f"WHERE true ORDER BY {order} ON CONFLICT DO NOTHING"
    )
    return _typed(statement, table, returning)


@lru_cache
def _select(dialect: str, table: Table, keys: tuple[str, ...], columns: tuple[str, ...]) -> TextClause:
    names = ", ".join(map(quoted, columns))
    statement = f"SELECT {names} FROM {quoted(table.name)} WHERE {_matches(dialect, table, keys)}"
    return text(statement).columns(*(table.c[name] for name in columns))


@lru_cache
def _delete(dialect: str, table: Table, keys: tuple[str, ...]) -> TextClause:
    return text(f"DELETE FROM {quoted(table.name)} WHERE {_matches(dialect, table, keys)}")


def _matches(dialect: str, table: Table, keys: tuple[str, ...]) -> str:
    names = ", ".join(map(quoted, keys))
    return f"({names}) IN (SELECT {names} FROM {source(dialect, table, keys)})"


def _typed(statement: str, table: Table, returning: tuple[str, ...]) -> TextClause:
    if not returning:
        return text(statement)
    clause = text(f"{statement} RETURNING {', '.join(map(quoted, returning))}")
    return clause.columns(*(table.c[name] for name in returning))


def _sqlite_value(table: Table, name: str) -> str:
    """As SQLAlchemy stores it: UUIDs as 32 hexadecimal digits, JSON as text."""
    kind = table.c[name].type
    if isinstance(kind, JSON):
        return f"value -> '$.{name}'"
    if isinstance(kind, Uuid):
        return f"replace(json_extract(value, '$.{name}'), '-', '')"
    return f"json_extract(value, '$.{name}')"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no JSON for {type(value).__name__}")
