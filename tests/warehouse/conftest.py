"""The same little shop in a DuckDB file and in PostgreSQL, opened through a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from tidings.warehouse.mapping import Mapping, parse
from tidings.warehouse.reader import Warehouse, open_shop

# Statements that make the shop's own tables, and the `tables:` part of a warehouse.yaml.
OpenShop = Callable[[list[str], str], Warehouse]


def mapping(database: dict[str, Any], tables: str) -> Mapping:
    return Mapping.model_validate({"database": database, "tables": parse(tables) or {}})


@pytest.fixture(params=["duckdb", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenShop]:
    opened: list[Warehouse] = []

    def make(statements: list[str], tables: str) -> Warehouse:
        if kind == "duckdb":
            path = tmp_path / f"shop{len(opened)}.duckdb"
            with duckdb.connect(str(path)) as connection:
                for one in statements:
                    connection.execute(one)
            opened.append(open_shop(mapping({"kind": "duckdb", "path": path.name}, tables), tmp_path))
            return opened[-1]
        url = request.getfixturevalue("new_postgres")()
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            for one in statements:
                connection.exec_driver_sql(one)
        engine.dispose()
        opened.append(open_shop(mapping({"kind": "postgresql", "connection": "warehouse"}, tables), tmp_path, url))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
