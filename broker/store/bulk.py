"""Any number of rows in one statement with one parameter, a JSON array of objects.

The same shape on both dialects: PostgreSQL unfolds the array with `json_to_recordset`, SQLite with
`json_each`. A row is a mapping or a dataclass whose fields are columns of the table; all rows of a call have
the same fields. UUIDs and JSON columns are given as what they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
import orjson
from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningUpdate

from broker.store.database import Line
from broker.store.driver import AnyRow


async def insert_rows(
    connection: Line,
    table: Table,
    rows: Sequence[Any],
    returning: Sequence[str] = (),
    unless_in: Table | None = None,
    marked_in: Table | None = None,
) -> list[AnyRow]:
    """Insert what is not there yet, in the order of the primary key; `returning` those that were inserted.

    With `marked_in`, a table of the same key, each comes back with one column more: whether it stands there.

    Rows that collide with what is there, or with one another, are left out, and so are rows whose key stands
    in `unless_in`. The order keeps two processes that insert the same rows from waiting for each other in a
    circle.
    """
    if not rows:
        return []
    dialect = connection.dialect.name
    statement = _insert(dialect, table, _columns(rows[0]), tuple(returning), unless_in, marked_in)
    result = await connection.execute(statement, {"rows": encode(rows)})
    return list(result.all()) if returning else []


async def update_rows(
    connection: Line,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    match: Mapping[str, str],
    beside: Mapping[Table, Sequence[Any]],
) -> list[AnyRow]:
    """Set the fields of rows, and insert others beside, in one round trip where the dialect can.

    `match` names, for each column that is compared, the field of `rows` that holds what it is compared with;
    fields that are columns of the same name and not compared are set. `beside` is inserted as `insert_rows`
    does. Returns the keys of the rows that were found.
    """
    inserts = {into: some for into, some in beside.items() if some}
    dialect = connection.dialect.name
    shapes = tuple((into, _columns(some[0])) for into, some in inserts.items())
    parameters = {into.name: encode(some) for into, some in inserts.items()} | {"rows": encode(rows)}
    if dialect != "postgresql":
        for into, some in inserts.items():
            await insert_rows(connection, into, some)
        shapes = ()
    statement = _update(dialect, table, tuple(rows[0]), tuple(match.items()), shapes)
    return list((await connection.execute(statement, parameters)).all())


class Look(NamedTuple):
    """Rows of `table` whose `keys` are those of rows that are inserted into `of`. It takes the lock ROW SHARE
    on the table, by which who writes there can see whose look may have missed it.
    """

    table: Table
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    of: Table


async def update_all(
    connection: Line,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    match: Mapping[str, str],
    new: Mapping[Table, Sequence[Any]],
    beside: Mapping[Table, Sequence[Any]],
    look: Look,
) -> list[AnyRow] | None:
    """As `update_rows`, and insert all of `new`: all or nothing, by one statement, which commits by itself on
    a connection without a transaction. Returns what `look` finds as of its beginning. PostgreSQL alone.

    None, and nothing is written, where one of the rows is not found, or one of `new` is there already.
    """
    inserts = [
        (into, some, is_new)
        for given, is_new in ((new, True), (beside, False))
        for into, some in given.items()
        if some
    ]
    shapes = tuple((into, _columns(some[0]), is_new) for into, some, is_new in inserts)
    parameters = {into.name: encode(some) for into, some, _ in inserts}
    statement = _update_all(table, tuple(rows[0]), tuple(match.items()), shapes, look)
    given = {**parameters, "rows": encode(rows), "expected": len(rows)}
    try:
        found = (await connection.execute(statement, given)).all()
    except (asyncpg.UniqueViolationError, asyncpg.DivisionByZeroError):
        return None
    return [row for row in found if row[0] is not None]


async def select_by_keys(
    connection: Line,
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


def unfolded(dialect: str, table: Table, columns: Sequence[str], parameter: str = "rows") -> FromClause:
    """The parameter, unfolded into `columns` that are typed as those of `table`."""
    return _unfolded(dialect, [Column(name, table.c[name].type) for name in columns], parameter)


def _unfolded(dialect: str, columns: Sequence[Column[Any]], parameter: str) -> FromClause:
    if dialect == "postgresql":
        rows = func.json_to_recordset(cast(bindparam(parameter, type_=Text), JSON))
        return rows.table_valued(*columns, name="r").render_derived(with_types=True)
    each = func.json_each(bindparam(parameter, type_=Text)).table_valued("value")
    return select(*(_stored(each.c.value, column) for column in columns)).subquery("r")


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
    dialect: str,
    table: Table,
    columns: tuple[str, ...],
    returning: tuple[str, ...],
    unless_in: Table | None = None,
    marked_in: Table | None = None,
    parameter: str = "rows",
    *,
    is_new: bool = False,
) -> Insert:
    rows = unfolded(dialect, table, columns, parameter)
    # A condition there must be: without one SQLite reads ON CONFLICT as the ON of a join.
    condition = true() if unless_in is None else ~_stands_in(unless_in, rows)
    ordered = select(rows).where(condition).order_by(*(rows.c[key.name] for key in table.primary_key))
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table).from_select(columns, ordered)
    if is_new:
        return statement
    statement = statement.on_conflict_do_nothing()
    if not returning:
        return statement
    marks = [] if marked_in is None else [_is_marked(marked_in, table)]
    return statement.returning(*(table.c[name] for name in returning), *marks)


def _stands_in(table: Table, rows: FromClause) -> ColumnElement[bool]:
    return exists().where(*(key == rows.c[key.name] for key in table.primary_key))


def _is_marked(marks: Table, table: Table) -> ColumnElement[bool]:
    """Not EXISTS, which PostgreSQL may answer by reading all of `marks` into a hash. As text, for on SQLite
    SQLAlchemy leaves the tables' names out of RETURNING, also where two tables have the column.
    """
    same = " AND ".join(f"m.{key.name} = {table.name}.{key.name}" for key in marks.primary_key)
    found = f"(SELECT 1 FROM {marks.name} AS m WHERE {same}) IS NOT NULL"  # noqa: S608  # names of ours
    return literal_column(found, Boolean).label("is_marked")


@lru_cache
def _update(
    dialect: str,
    table: Table,
    fields: tuple[str, ...],
    match: tuple[tuple[str, str], ...],
    beside: tuple[tuple[Table, tuple[str, ...]], ...],
) -> ReturningUpdate[Any]:
    column_of = {field: column for column, field in match}
    columns = [Column(field, table.c[column_of.get(field, field)].type) for field in fields]
    rows = _unfolded(dialect, columns, "rows")
    found = [table.c[column] == rows.c[field] for column, field in match]
    changed = {field: rows.c[field] for field in fields if field not in column_of}
    statement = update(table).where(*found).values(changed).returning(*table.primary_key)
    inserts = [_insert(dialect, into, shape, (), None, None, into.name) for into, shape in beside]
    return statement.add_cte(*(each.cte(f"insert_{number}") for number, each in enumerate(inserts)))


@lru_cache
def _update_all(
    table: Table,
    fields: tuple[str, ...],
    match: tuple[tuple[str, str], ...],
    inserted: tuple[tuple[Table, tuple[str, ...], bool], ...],
    look: Look,
) -> Select[Any]:
    """Where rows are missing it divides by zero: a statement is undone by an error alone. Selects what is
    looked for, or one row of nulls.
    """
    updated = _update("postgresql", table, fields, match, ()).cte("updated")
    inserts = [
        _insert("postgresql", into, shape, (), parameter=into.name, is_new=is_new)
        for into, shape, is_new in inserted
    ]
    found = select(func.count()).select_from(updated).scalar_subquery()
    is_all = case((found == bindparam("expected", type_=Integer), 1), else_=0)
    ctes = (each.cte(f"insert_{number}") for number, each in enumerate(inserts))
    chosen = _select("postgresql", look.table, look.keys, look.columns, look.of.name, is_locking=True)
    seen = chosen.cte("seen")
    whole = select((literal_column("1", Integer) // is_all).label("whole")).subquery("w")
    columns = [seen.c[name] for name in look.columns]
    return select(*columns, whole.c.whole).select_from(whole.outerjoin(seen, true())).add_cte(*ctes)


@lru_cache
def _select(
    dialect: str,
    table: Table,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    parameter: str = "rows",
    *,
    is_locking: bool = False,
) -> Select[Any]:
    rows = select(unfolded(dialect, table, keys, parameter)).distinct().subquery("k")
    wanted = select(*(table.c[name] for name in columns))
    if dialect == "postgresql":
        # OFFSET keeps the planner from turning this round, looking for each row of the table among the keys.
        same = and_(*(table.c[name] == rows.c[name] for name in keys))
        chosen = wanted.where(same).offset(literal_column("0"))
        found = (chosen.with_for_update(read=True, key_share=True) if is_locking else chosen).lateral("f")
        return select(*(found.c[name] for name in columns)).select_from(rows).join(found, true())
    return wanted.where(tuple_(*(table.c[name] for name in keys)).in_(select(rows)))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no JSON for {type(value).__name__}")
