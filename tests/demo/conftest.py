"""One demo shop for all tests that only look at it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tidings.demo.shop import DemoShop, Plan, create

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo_shop(demo_folder: Path) -> DemoShop:
    return create(demo_folder, now=NOW, plan=Plan(seed=7, customers=4_000))


@pytest.fixture
def sql(demo_shop: DemoShop) -> duckdb.DuckDBPyConnection:
    """The shop's tables as the loader wrote them, under the shop's names."""
    con = duckdb.connect()
    con.execute("SET timezone = 'UTC'")
    for table in sorted(demo_shop.warehouse.iterdir()):
        con.read_parquet(f"{table}/*.parquet").create_view(table.name)
    return con
