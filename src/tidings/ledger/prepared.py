"""Statements compiled once and run as the driver takes them: a lane runs the same dozen again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Executable, FromClause, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from tidings.ledger import bulk


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: str
    fixed: Mapping[str, Any]
    order: Sequence[str] | None  # of SQLite's question marks

    def values(self, given: Mapping[str, Any]) -> Any:
        whole = {**self.fixed, **given}
        return whole if self.order is None else tuple(whole[name] for name in self.order)


class Prepared:
    """A statement that ``build`` makes for a dialect's name, with a bindparam for everything that differs.

    Whatever else it binds is text or a whole number. Values are given as the driver takes them: rows by ``rows``,
    instants by ``instant``. Its text never differs, so the server plans it once per connection.
    """

    def __init__(self, build: Callable[[str], Executable]) -> None:
        self._build = build
        self._known: dict[str, _Compiled] = {}

    def of(self, conn: Connection) -> _Compiled:
        """Return it as this database is told it."""
        name = conn.dialect.name
        known = self._known.get(name)
        if known is None:
            made: Any = self._build(name).compile(dialect=conn.dialect)  # type: ignore[attr-defined]
            fixed = {one: str(v) if isinstance(v, str) else v for one, v in made.params.items()}
            order = None if made.positiontup is None else tuple(made.positiontup)
            known = self._known[name] = _Compiled(str(made), fixed, order)
        return known


Asked = tuple[Prepared, Mapping[str, Any]]


def given(dialect: str, columns: Mapping[str, TypeEngine[Any]], *, name: str = "body") -> FromClause:
    """Return the rows that ``rows`` wrote and a statement is given as ``name``, as a table of typed columns."""
    return bulk.table(dialect, columns, bindparam(name, type_=Text()), name="given")


def rows(conn: Connection, names: Sequence[str], values: Sequence[Sequence[Any]]) -> str:
    """Return rows of plain values (text, numbers, truths) for ``given``."""
    if conn.dialect.name == "postgresql":
        return orjson.dumps([dict(zip(names, row, strict=True)) for row in values]).decode()
    return orjson.dumps(values).decode()


def ids_given(dialect: str, *, name: str = "body") -> FromClause:
    """Return the strings that ``ids`` wrote and a statement is given as ``name``, as a table with the column ``id``."""
    body = bindparam(name, type_=Text())
    if dialect == "postgresql":
        texts = func.json_array_elements_text(cast(body, postgresql.JSON))
        return texts.table_valued(column("id", Text()), name="chosen").render_derived()
    each = func.json_each(body).table_valued("value", name="chosen_rows")
    return select(each.c.value.label("id")).cte("chosen").prefix_with("MATERIALIZED")


def ids(values: Iterable[str]) -> str:
    """Return strings for ``ids_given``; they must differ from one another."""
    return orjson.dumps(list(values)).decode()


def instant(conn: Connection, at: datetime) -> Any:
    """Return an instant as the driver takes it."""
    return at if conn.dialect.name == "postgresql" else bulk.instant(conn)(at)


def told_instant(value: Any) -> datetime:
    """Return an instant that the driver gave."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def together(conn: Connection, *asked: Asked) -> list[list[Any]]:
    """Run statements one after the other and return the rows of each; on PostgreSQL in one trip to the server."""
    with _driver(conn) as driver:
        if conn.dialect.name == "postgresql":  # also for one: the transaction may have to begin in the same trip
            with _pipeline(driver):
                cursors = [_run(conn, driver, one) for one in asked]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
        answers = []
        for one in asked:
            cursor = _run(conn, driver, one)
            answers.append(cursor.fetchall() if cursor.description else [])
        return answers


def changed(conn: Connection, prepared: Prepared, values: Mapping[str, Any]) -> int:
    """Run an UPDATE or DELETE and return how many rows it changed."""
    with _driver(conn) as driver:
        count = _run(conn, driver, (prepared, values)).rowcount
        if count < 0:  # Python's driver for SQLite does not count statements that begin with WITH.
            count = driver.execute("SELECT changes()").fetchone()[0]
    return int(count)


def each(conn: Connection, prepared: Prepared, names: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    """Run a statement once per row of values in the order of ``names``: what SQLite, without trips to save, likes."""
    compiled = prepared.of(conn)
    assert compiled.order == tuple(names), "the values come in the order in which the statement has its places"
    with _driver(conn) as driver:
        driver.executemany(compiled.text, values)


def _run(conn: Connection, driver: Any, asked: Asked) -> Any:
    compiled = asked[0].of(conn)
    return driver.execute(compiled.text, compiled.values(asked[1]))


@contextmanager
def _driver(conn: Connection) -> Iterator[Any]:
    """Give the driver's own connection; what it raises is told as everywhere else."""
    module: Any = conn.dialect.loaded_dbapi
    try:
        yield conn.connection.driver_connection
    except module.Error as failure:
        raise DBAPIError.instance(
            None, None, failure, module.Error, hide_parameters=True, dialect=conn.dialect
        ) from failure


def _pipeline(driver: Any) -> Any:
    from psycopg import Pipeline

    return driver.pipeline() if Pipeline.is_supported() else contextlib.nullcontext()
