"""Many rows in one statement: rows travel to the database as one JSON value, or by COPY, never one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from tidings.ledger.schema import UTCTime

TEXT, WHOLE, TRUTH, TIME = Text(), BigInteger(), Boolean(), UTCTime()
Rows = Sequence[Sequence[Any]]


def given(conn: Connection, columns: dict[str, TypeEngine[Any]], rows: Rows, *, name: str = "given") -> FromClause:
    """Return ``rows`` as a table of the named, typed columns, to be joined, updated from or inserted from."""
    names = list(columns)
    instants = [i for i, kind in enumerate(columns.values()) if isinstance(kind, UTCTime)]
    written = instant(conn)
    plain = [list(row) for row in rows]
    for row in plain:
        for i in instants:
            row[i] = None if row[i] is None else written(row[i])
    whole = [dict(zip(names, row, strict=True)) for row in plain] if conn.dialect.name == "postgresql" else plain
    body = bindparam(name, orjson.dumps(whole).decode(), Text(), unique=True)
    return table(conn.dialect.name, columns, body, name=name)


def table(
    dialect: str, columns: Mapping[str, TypeEngine[Any]], body: BindParameter[Any], *, name: str = "given"
) -> FromClause:
    """Return rows in JSON (on PostgreSQL objects, on SQLite arrays) as a table of the named, typed columns."""
    if dialect == "postgresql":
        records = func.json_to_recordset(cast(body, postgresql.JSON))
        typed = [column(one, kind) for one, kind in columns.items()]
        return records.table_valued(*typed, name=name).render_derived(with_types=True)
    each = func.json_each(body).table_valued("value", name=f"{name}_rows")
    parts = [
        func.json_extract(each.c.value, f"$[{i}]", type_=kind).label(one)
        for i, (one, kind) in enumerate(columns.items())
    ]
    # Materialised, because SQLite may put the rows in an inner loop and would parse the JSON again each time.
    return select(*parts).cte(name).prefix_with("MATERIALIZED")


def ids(conn: Connection, values: Iterable[str], *, name: str = "chosen") -> FromClause:
    """Return distinct strings as a table with the column ``id``."""
    return given(conn, {"id": TEXT}, [(value,) for value in sorted(set(values))], name=name)


def instant(conn: Connection) -> Callable[[datetime], str]:
    """Return how this database writes an instant as text. Naive times are refused."""
    return _sqlite_instant if conn.dialect.name == "sqlite" else _iso_instant


def _iso_instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a naive time cannot enter the ledger")
    return at.isoformat()


def _sqlite_instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a naive time cannot enter the ledger")
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(" ", "microseconds")[:26]


def changed(conn: Connection, statement: Executable) -> int:
    """Run an INSERT, UPDATE or DELETE and return how many rows it changed."""
    count = conn.execute(statement).rowcount
    if count < 0:
        # Python's driver for SQLite does not count statements that begin with WITH.
        count = conn.execute(text("SELECT changes()")).scalar_one()
    return int(count)


def locked(conn: Connection, query: Select[Any], key: ColumnElement[Any]) -> Select[Any]:
    """Return a query that locks what it finds, skipping what others hold, in the order in which all lock.

    SQLite has one writer and locks no rows; to give them in that order it would read the whole table.
    """
    return query if conn.dialect.name == "sqlite" else query.order_by(key).with_for_update(skip_locked=True)


def fit(said: str | None, length: int) -> str | None:
    """Return words from outside cut to a column's length, without the NUL that PostgreSQL refuses."""
    return said.replace("\0", "")[:length] if said else None


def append(conn: Connection, table: Table, names: Sequence[str], rows: Rows) -> None:
    """Insert rows that cannot be there yet: COPY on PostgreSQL, one prepared INSERT on SQLite.

    ``rows`` are values in the order of ``names``, which is the table's; times are aware datetimes.
    """
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        copy(conn, table.name, [table.c[name] for name in names], rows)
        return
    statement = insert(table).values({name: bindparam(name) for name in names})
    compiled: Any = statement.compile(dialect=conn.dialect)
    assert compiled.positiontup == list(names), "the columns of an INSERT come in the table's order"
    conn.exec_driver_sql(str(compiled), _sqlite_rows([table.c[name] for name in names], rows))


def _sqlite_rows(columns: Sequence[Column[Any]], rows: Rows) -> list[tuple[Any, ...]]:
    instants = {i for i, one in enumerate(columns) if isinstance(one.type, UTCTime)}
    if not instants:
        return [tuple(row) for row in rows]
    return [
        tuple(_sqlite_instant(v) if i in instants and v is not None else v for i, v in enumerate(row)) for row in rows
    ]


def copy(conn: Connection, table: str, columns: Sequence[Column[Any]], rows: Rows) -> None:
    """Stream rows into a PostgreSQL table by COPY."""
    from psycopg import sql

    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(one.name) for one in columns)
    )
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as stream:
        for row in rows:
            stream.write_row(row)


def upsert(conn: Connection, into: Table) -> Any:
    """Return this database's INSERT that knows ON CONFLICT."""
    return upsert_for(conn.dialect.name, into)


def upsert_for(dialect: str, into: Table) -> Any:
    """Return the INSERT that knows ON CONFLICT of the dialect of this name."""
    return postgresql.insert(into) if dialect == "postgresql" else sqlite.insert(into)


__all__ = [
    "TEXT",
    "TIME",
    "TRUTH",
    "WHOLE",
    "append",
    "changed",
    "copy",
    "fit",
    "given",
    "ids",
    "instant",
    "literal",
    "table",
    "upsert",
    "upsert_for",
]
