"""A shop of canonical tables in a real DuckDB and a real PostgreSQL, filled row by row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, Row, Select, create_engine, event, insert
from sqlalchemy.pool import StaticPool

from tidings.warehouse import contract
from tidings.warehouse.tables import Tables

UTC = dt.UTC
TABLES = contract.contract.tables


class RealShop:
    """The canonical tables in one database; only what was filled, or named, counts as mapped."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked = 0
        self.tables = Tables({}, {})
        self.held: dict[str, list[dict[str, Any]]] = {}

    def fill(self, **rows: Sequence[Mapping[str, Any]]) -> RealShop:
        """Replace everything by these rows; a table given no rows is mapped with all its columns."""
        dirty = self.held
        self.held = {name: [dict(row) for row in given] for name, given in rows.items()}
        with self.engine.begin() as conn:
            for name in dirty:
                conn.execute(TABLES[name].delete())
            for name, given in self.held.items():
                told = sorted({key for row in given for key in row})
                if given:
                    conn.execute(insert(TABLES[name]), [{key: row.get(key) for key in told} for row in given])
        self.map(*self.held)
        return self

    def add(self, **rows: Sequence[Mapping[str, Any]]) -> RealShop:
        return self.fill(**{
            name: [*self.held.get(name, []), *rows.get(name, [])] for name in {**self.held, **rows}
        })  # fmt: skip

    def map(self, *names: str) -> None:
        given = {}
        for name in names:
            told = {key for row in self.held.get(name, []) for key in row}
            needed = {column.name for column in TABLES[name].c if not column.nullable}
            given[name] = frozenset(told | needed if told else {column.name for column in TABLES[name].c})
        self.tables = Tables({name: TABLES[name] for name in names}, given)

    def stream(self, query: Select[Any], batch: int = 10_000) -> Iterator[Row[Any]]:
        self.asked += 1
        with self.engine.connect() as conn:
            yield from conn.execution_options(yield_per=batch).execute(query)


def duckdb_engine() -> Engine:
    engine = create_engine("duckdb:///:memory:", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def in_utc(connection: Any, _: Any) -> None:
        connection.execute("SET TimeZone = 'UTC'")

    return engine


@pytest.fixture(scope="session")
def duckdb_shop() -> RealShop:
    engine = duckdb_engine()
    contract.contract.create_all(engine)
    return RealShop(engine)


@pytest.fixture(scope="session")
def postgres_shop(kept_postgres: Callable[[], str]) -> Iterator[RealShop]:
    engine = create_engine(kept_postgres(), connect_args={"options": "-c timezone=UTC -c synchronous_commit=off"})
    contract.contract.create_all(engine)
    yield RealShop(engine)
    engine.dispose()


@pytest.fixture(params=["duckdb", "postgres"])
def shop(request: pytest.FixtureRequest) -> RealShop:
    """An empty shop, once in DuckDB and once in PostgreSQL."""
    found: RealShop = request.getfixturevalue(f"{request.param}_shop")
    return found.fill()


@pytest.fixture
def new_duckdb() -> Callable[[], RealShop]:
    """Call it for a DuckDB engine of one's own."""
    return lambda: RealShop(duckdb_engine())
