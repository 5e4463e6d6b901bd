"""One statement serves every warehouse: it compiles for each dialect, binds every value, and parses there."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlglot

from tidings.detect.walk import trigger_types
from tidings.model.entry import Window
from tidings.warehouse.contract import contract
from tidings.warehouse.tables import Tables

TYPES = trigger_types()
WINDOW = Window(datetime(2026, 3, 2, 11, 45, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC))
WHOLE = Tables(contract.tables, {name: frozenset(table.c.keys()) for name, table in contract.tables.items()})
DIALECTS = {
    "snowflake": ("snowflake.sqlalchemy.snowdialect", "SnowflakeDialect"),
    "bigquery": ("sqlalchemy_bigquery", "BigQueryDialect"),
    "redshift": ("sqlalchemy_redshift.dialect", "RedshiftDialect_psycopg2"),
    "databricks": ("databricks.sqlalchemy", "DatabricksDialect"),
    "trino": ("trino.sqlalchemy.dialect", "TrinoDialect"),
    "clickhouse": ("clickhouse_connect.cc_sqlalchemy.dialect", "ClickHouseDialect"),
    "postgres": ("sqlalchemy.dialects.postgresql.psycopg", "PGDialect_psycopg"),
    "duckdb": ("duckdb_sqlalchemy", "Dialect"),
}
# What is one dialect's own: the rest computes it in Python.
OWN = re.compile(
    r"\b(interval|datediff|dateadd|date_add|date_trunc|timestampdiff|json_\w+|array_agg|unnest|lateral)\b",
    re.IGNORECASE,
)


def compiled(query: Any, name: str) -> Any:
    module, dialect = DIALECTS[name]
    return query.compile(
        dialect=getattr(importlib.import_module(module), dialect)(), compile_kwargs={"render_postcompile": True}
    )


def variants(name: str) -> list[dict[str, Any]]:
    return [{}, *({"win_back": [{"cadence": "mean"}, {"cadence": "quantile"}]}.get(name, []))]


@pytest.mark.parametrize("name", sorted(TYPES))
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_question_compiles_with_bound_values_and_parses(name, dialect):
    for detect in variants(name):
        found = compiled(TYPES[name](type=name, **detect).found(WHOLE, WINDOW), dialect)
        sql = str(found)

        assert "2026" not in sql
        assert datetime(2026, 3, 2, 12, tzinfo=UTC) in found.params.values()
        # BigQuery's own way to bind the list of an IN; it is no function of ours.
        assert not OWN.search(sql.replace("IN UNNEST(", "IN (") if dialect == "bigquery" else sql)
        statement = sqlglot.parse_one(_with_values(sql), dialect=dialect)
        assert isinstance(statement, sqlglot.exp.Select)
        assert statement.find(sqlglot.exp.Anonymous) is None or dialect == "clickhouse"


def _with_values(sql: str) -> str:
    """Return the SQL with a string in the place of every bound value, whatever the driver calls them."""
    sql = re.sub(r"%\(\w+(:\w+)?\)s", "'x'", sql)
    sql = re.sub(r"(?<![:\w]):\w+", "'x'", sql)
    return re.sub(r"\$\d+", "'x'", sql.replace("?", "'x'"))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_instant_in_the_question_is_at_or_before_the_end(name):
    found = TYPES[name](type=name).found(WHOLE, WINDOW).compile()

    times = [value for value in found.params.values() if isinstance(value, datetime)]

    assert times
    assert max(times) == WINDOW.end
    assert all(at.utcoffset() == timedelta(0) for at in times)
