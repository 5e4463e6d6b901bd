"""A mapping that uses every way of reading compiles for each warehouse, and its SQL parses in that dialect."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlglot
from sqlalchemy import Dialect, select
from sqlalchemy.dialects import registry

from tidings.warehouse.mapping import Mapping, parse, tables
from tidings.warehouse.shape import Family

MAPPING = """
customers:
  table: people
  columns: {customer_id: id, is_internal: staff, created_at: {column: since, zone: Asia/Tokyo}}
product_events:
  table: shop.clicks
  where: {bot: 0}
  columns:
    customer_id: id
    kind: {column: what, values: {view: viewed, cart: added}}
    price: price
    currency: ccy
    quantity: n
    occurred_at: {column: ts, epoch: ms}
    received_at: {column: got, format: "%d/%m/%Y %H:%M:%S"}
    loaded_at: {column: iso}
orders:
  sql: "SELECT id, at, total FROM sales"
  columns: {order_id: id, ordered_at: at, total: total, currency: {constant: JPY}}
"""
SHAPES = {
    "customers": {"id": Family.FLOAT, "staff": Family.TEXT, "since": Family.NAIVE},
    "product_events": {
        "id": Family.WHOLE, "what": Family.TEXT, "bot": Family.WHOLE, "price": Family.FLOAT, "ccy": Family.TEXT,
        "n": Family.TEXT, "ts": Family.WHOLE, "got": Family.TEXT, "iso": Family.TEXT,
    },
    "orders": {"id": Family.TEXT, "at": Family.DATE, "total": Family.TEXT},
}  # fmt: skip
# Our name of the kind, SQLAlchemy's of the dialect, sqlglot's of the language.
DIALECTS = [
    ("duckdb", "duckdb", "duckdb"), ("postgresql", "postgresql.psycopg", "postgres"),
    ("snowflake", "snowflake", "snowflake"), ("bigquery", "bigquery", "bigquery"),
    ("redshift", "redshift.psycopg2", "redshift"), ("databricks", "databricks", "databricks"),
    ("trino", "trino", "trino"), ("clickhouse", "clickhousedb", "clickhouse"),
]  # fmt: skip


def dialect(name: str) -> Dialect:
    made: Any = registry.load(name)
    return made()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "name", "language"), DIALECTS, ids=[one[0] for one in DIALECTS])
@pytest.mark.parametrize("shapes", [SHAPES, None], ids=["with real types", "without a connection"])
def test_every_way_of_reading_compiles_and_parses(kind, name, language, shapes):
    mapping = Mapping.model_validate({"database": {"kind": kind, "connection": "w"} if kind != "duckdb" else
                                      {"kind": kind, "path": "x"}, "tables": parse(MAPPING)})  # fmt: skip
    ours = tables(mapping, kind, shapes)
    bound = datetime(2024, 3, 1, tzinfo=UTC)

    for table, at in (("customers", "created_at"), ("product_events", "occurred_at"), ("orders", "ordered_at")):
        query = select(ours[table]).where(ours[table].c[at] >= bound)
        if table == "product_events":
            query = query.where(ours[table].c.kind.in_(["viewed"]), ours[table].c.customer_id == "7")
        sql = str(query.compile(dialect=dialect(name), compile_kwargs={"render_postcompile": True}))
        parsed = sqlglot.parse_one(_plain(sql, name), read=language, error_level=sqlglot.ErrorLevel.RAISE)

        assert isinstance(parsed, sqlglot.exp.Select)


def _plain(sql: str, name: str) -> str:
    """Return the SQL with every bound value written as the number 1: sqlglot does not know drivers' placeholders."""
    sql = re.sub(r"%\((\w+)(:\w+)?\)s(::[A-Z]+( WITH(OUT)? TIME ZONE)?)?", "1", sql).replace("%%", "%")
    sql = re.sub(r"\{(\w+):[^}]*\}", "1", sql)
    sql = re.sub(r"(?<![:\w\]]):[a-z]\w+|\$\d+", "1", sql)
    return sql.replace("?", "1") if name == "trino" else sql
