"""The open warehouse: one SELECT at a time, streamed in batches, in a transaction that cannot write."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property, lru_cache, partial
from keyword import iskeyword
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import duckdb
from sqlalchemy import (
    CompoundSelect,
    Connection,
    Engine,
    Row,
    Select,
    create_engine,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.sql.selectable import TextualSelect

from tidings.errors import WarehouseError
from tidings.warehouse import checks, duck, mapped
from tidings.warehouse.mapping import Mapping, TableMapping
from tidings.warehouse.shape import Shape, family, family_of
from tidings.warehouse.tables import Tables

# The errors whose text may be shown: it names tables, columns and hosts, never a value from a row.
_TELLING = {
    "CatalogException", "BinderException", "ParserException", "IOException", "PermissionException", "HTTPException",
    "ConnectionException", "OutOfMemoryException", "UndefinedTable", "UndefinedColumn", "UndefinedFunction",
    "InsufficientPrivilege", "QueryCanceled", "OperationalError", "ReadOnlySqlTransaction", "AmbiguousColumn",
    "SyntaxError", "GroupingError", "DatatypeMismatch", "InvalidCatalogName", "InvalidSchemaName",
}  # fmt: skip
_MISSING = {"CatalogException", "BinderException", "UndefinedTable", "UndefinedColumn", "InvalidSchemaName",
            "ParserException", "SyntaxError", "UndefinedFunction", "InsufficientPrivilege"}  # fmt: skip


def open_shop(
    mapping: Mapping, folder: Path, url: str | None = None, *, lock_wait: timedelta = timedelta(seconds=30)
) -> Warehouse:
    """Return the shop's warehouse, ready to be read.

    ``folder`` is where relative paths in the mapping begin; ``url`` is the SQLAlchemy address of the connection
    that the mapping names. ``lock_wait`` is how long a locked DuckDB file is waited for. Raises WarehouseError.
    """
    database = mapping.database
    if database.kind == "duckdb":
        seconds = lock_wait.total_seconds()
        return Warehouse(mapping, folder, lambda: duck.engine(database, Path(folder), seconds))
    if url is None:
        raise WarehouseError(f'warehouse: connection "{database.connection}" is not set')
    address, name = url, database.connection
    return Warehouse(mapping, folder, lambda: _server(address, database.kind, str(name)))


def _server(url: str, kind: str, name: str) -> Engine:
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            url = "postgresql+psycopg://" + url.removeprefix(plain)
    arguments: dict[str, Any] = {"connect_args": {"connect_timeout": 10}} if kind == "postgresql" else {}
    try:
        return create_engine(url, pool_size=4, max_overflow=4, pool_pre_ping=True, hide_parameters=True, **arguments)
    except Exception as error:  # whatever a dialect raises, its text may hold the address
        raise WarehouseError(
            f'warehouse: connection "{name}" must be an address for {kind}; found {type(error).__name__}'
        ) from None


class Warehouse:
    """A shop's warehouse, read-only. A context manager; may be entered and left more than once."""

    def __init__(self, mapping: Mapping, folder: Path, connect: Callable[[], Engine]) -> None:
        self.mapping = mapping
        self.folder = Path(folder)
        self._connect = connect
        self._engine: Engine | None = connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every connection and file; reading again opens them again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @property
    def kind(self) -> str:
        """Which database this is."""
        return self.mapping.database.kind

    @cached_property
    def tables(self) -> Tables:
        """The logical tables, ready to stand in a FROM, cast only where the real columns need it."""
        return mapped.tables(self.mapping, self.kind, self.shapes)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The real columns by logical table; a table that cannot be looked at is not in it."""
        with self._reading() as connection:
            found = {name: self._shape(connection, name, one) for name, one in self.mapping.mapped().items()}
        return {name: shape for name, shape in found.items() if shape is not None}

    def _shape(self, connection: Connection, name: str, table: TableMapping) -> Shape | None:
        if self.kind not in ("duckdb", "postgresql"):
            return None if table.sql is not None else _inspected(connection, table.table or name)
        everything: Select[Any] = select(literal_column("*")).select_from(mapped.source(table, name, [])).limit(0)
        try:
            with connection.begin_nested() if self.kind == "postgresql" else nullcontext():
                result = connection.execute(everything)
                described = list(result.cursor.description or ()) if result.cursor else []
                result.close()
        except DBAPIError as error:
            if type(error.orig).__name__ not in _MISSING:
                raise
            if self.kind == "duckdb":
                connection.rollback()
            return None
        return {str(one[0]): family(_type_name(one[1])) for one in described}

    def stream(self, query: Select[Any], batch: int = 10_000) -> Iterator[Row[Any]]:
        """Yield the rows of one SELECT in batches, never the whole result in memory; instants are aware UTC.

        Raises TypeError for anything but a SELECT, WarehouseError when the warehouse cannot be read.
        """
        if not isinstance(query, Select | CompoundSelect):
            raise TypeError(f"a warehouse takes one SELECT; found {type(query).__name__}")
        derived = False
        for part in _parts(query):
            derived = derived or isinstance(part, TextualSelect)
            if getattr(part, "is_dml", False) or getattr(part, "_for_update_arg", None) is not None:
                raise TypeError("a warehouse takes one SELECT; found one that writes or locks")
        return self._rows(query, batch, derived)

    def _rows(self, query: Select[Any], batch: int, derived: bool) -> Iterator[Row[Any]]:
        with self._reading(derived) as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=batch)
            result = streaming.execute(query)
            quick = _quick_row(tuple(result.keys()))
            for part in result.partitions(batch):
                yield from part if quick is None else map(quick, part)

    @contextmanager
    def _reading(self, derived: bool = False) -> Iterator[Connection]:
        if self._engine is None:
            self._engine = self._connect()
        limit = int(self.mapping.database.statement_timeout.total_seconds() * 1000)
        try:
            with self._engine.connect() as connection:
                if self.kind == "postgresql":
                    # For this transaction only, so that a pooler's connections stay as they were.
                    settings = {"transaction_read_only": "on", "TimeZone": "UTC", "statement_timeout": str(limit)}
                    # Every row is fetched: a plan that is quick to the first tenth of them (the default) is no gain.
                    settings["cursor_tuple_fraction"] = "1"
                    if derived:
                        # It knows no statistics of what a mapping's SELECT returns, takes it for a handful of rows
                        # and runs it once for each row of another: minutes where a hash join takes seconds.
                        settings["enable_nestloop"] = "off"
                    connection.execute(select(*(func.set_config(*one, True) for one in settings.items())))
                yield connection
        except (SQLAlchemyError, duckdb.Error) as error:
            raise WarehouseError(_told(error, self.kind)) from None

    def set_aside(self) -> dict[str, int]:
        """Return, per CSV file of the mapping, how many of its lines cannot be read and are left out."""
        return duck.set_aside(self.mapping.database, self.folder)

    def describe(self) -> list[checks.Problem]:
        """Return every problem of the mapping against the real tables: place, rule and what was found."""
        return checks.problems(self.mapping, self.shapes)


@lru_cache(maxsize=512)
def _quick_row(names: tuple[str, ...]) -> Callable[[Row[Any]], Row[Any]] | None:
    """Return what makes a named tuple of a row: its columns are read ten times as fast; None for odd names."""
    if len(set(names)) < len(names) or any(one[0] == "_" or not one.isidentifier() or iskeyword(one) for one in names):
        return None
    made: Any = partial(tuple.__new__, namedtuple("Row", names))
    return cast(Callable[[Row[Any]], Row[Any]], made)


def _parts(query: Select[Any] | CompoundSelect[Any]) -> Iterator[Any]:
    """Yield every part of a query once: a step that many others use is walked once, not once a use."""
    seen: set[int] = set()
    waiting: list[Any] = [query]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(part.get_children())


def _inspected(connection: Connection, name: str) -> Shape | None:
    schema, _, plain = name.rpartition(".")
    try:
        columns = inspect(connection).get_columns(plain, schema=schema or None)
    except NoSuchTableError:
        return None
    return {str(one["name"]): family_of(one["type"]) for one in columns}


def _type_name(code: Any) -> str:
    if isinstance(code, int):
        from psycopg import postgres

        found = postgres.types.get(code)
        return found.name if found is not None else "other"
    return str(code)


def _told(error: Exception, kind: str) -> str:
    """Return one line about what went wrong, without statement, parameters or values."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    name = type(origin).__name__
    if name not in _TELLING:
        return f"warehouse: {kind} could not answer a query; found {name}"
    said = " ".join(line.strip() for line in str(origin).splitlines()[:2] if "LINE 1" not in line)
    return f"warehouse: {kind}: {said}".strip()
