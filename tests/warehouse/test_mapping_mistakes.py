"""Every mistake in a mapping is told: in the file itself, and between the file and the real tables."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tidings.errors import DefinitionError
from tidings.warehouse import select
from tidings.warehouse.mapping import Mapping, load, parse

GOOD = {"order_id": "id", "ordered_at": "at"}


def mistakes(tables: Any, database: Any = None) -> list[tuple[str, str]]:
    content = {"database": database or {"kind": "duckdb", "path": "s.duckdb"}, "tables": tables}
    with pytest.raises(ValidationError) as told:
        Mapping.model_validate(content)
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in told.value.errors()]


def of_orders(**columns: Any) -> dict[str, Any]:
    return {"orders": {"table": "sales", "columns": GOOD | columns}}


@pytest.mark.parametrize(
    ("tables", "place", "said"),
    [
        ({"order": {}}, "tables.order", "Extra inputs"),
        (of_orders(totl="x"), "tables.orders.columns.totl", "Extra inputs"),
        ({"orders": {"columns": {"order_id": "id"}}}, "tables.orders.columns.ordered_at", "Field required"),
        (of_orders(total={"column": "x", "unit": "cents"}), "tables.orders.columns.total.unit", "'major' or 'minor'"),
        (of_orders(total={}), "tables.orders.columns.total", "either column or constant"),
        (of_orders(email={"column": "x", "epoch": "s"}), "tables.orders.columns.email", "for times only"),
        (of_orders(email={"column": "x", "unit": "minor"}), "tables.orders.columns.email", "for money only"),
        (of_orders(currency={"constant": "euro"}), "tables.orders.columns.currency", 'found "euro"'),
        (of_orders(updated_at={"column": "x", "zone": "Mars"}), "tables.orders.columns.updated_at", 'found "Mars"'),
        (of_orders(updated_at={"column": "x", "format": "%d.%q"}), "tables.orders.columns.updated_at", "%d.%q"),
        (of_orders(updated_at={"constant": "now"}), "tables.orders.columns.updated_at", "cannot be constant"),
        (
            of_orders(status={"column": "s", "values": {"ok": "complete"}}),
            "tables.orders.columns.status",
            'must be one of placed, completed, cancelled, failed, refunded; found "complete"',
        ),
        ({"orders": {"table": "a", "sql": "SELECT 1"}}, "tables.orders", "either table or sql"),
        ({"orders": {"freshness": "2h"}}, "tables.orders", "freshness needs a watermark"),
        (
            {"orders": {"watermark": {"column": "loded_at"}}},
            "tables.orders.watermark.column",
            'must be one of ordered_at, updated_at, loaded_at; found "loded_at"',
        ),
        ({"orders": {"sql": "DELETE FROM x"}}, "tables.orders.sql", "must be one SELECT; found DELETE"),
        (
            {"orders": {"watermark": {"query": "SELECT 1; SELECT 2"}}},
            "tables.orders.watermark.query",
            "found 2 statements",
        ),
    ],
)  # fmt: skip
def test_a_mistake_names_its_place_and_rule(tables, place, said):
    ((found, rule),) = mistakes(tables)

    assert found == place
    assert said in rule


def test_every_mistake_is_told_at_once():
    wrong = {
        "orders": {"sql": "DROP TABLE x"},
        "prices": {"sql": "SELECT 1; SELECT 2"},
        "stock": {"watermark": {"column": "x"}},
    }

    assert [place for place, _ in mistakes(wrong)] == [
        "tables.prices.sql", "tables.stock.watermark.column", "tables.orders.sql",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ({"kind": "duckdb"}, "needs either path or files"),
        ({"kind": "postgresql"}, 'needs connection, such as "warehouse"'),
        ({"kind": "postgresql", "connection": "w", "path": "x"}, "for kind duckdb only"),
        ({"kind": "duckdb", "files": {"a": {"csv": "a.csv", "header": False}}}, "needs columns"),
        ({"kind": "duckdb", "files": {'a"b': "a.parquet"}}, "must be a simple name"),
        ({"kind": "oracle", "connection": "w"}, "'duckdb'"),
    ],
)
def test_a_database_is_one_thing(database, said):
    assert said in mistakes({}, database)[0][1]


HOSTILE = [
    "", "SELECT 1; DROP TABLE x", "INSERT INTO x SELECT 1", "UPDATE x SET a = 1", "DELETE FROM x", "DROP TABLE x",
    "CREATE TABLE y AS SELECT 1", "COPY x TO '/tmp/x'", "WITH gone AS (DELETE FROM x RETURNING *) SELECT * FROM gone",
    "SELECT * INTO y FROM x", "SELECT * FROM x FOR UPDATE", "SELEC 1", "VALUES (1)", "SET a = 1", "CALL f()",
    "EXPLAIN SELECT 1", "PRAGMA x", "ATTACH 'x'", "TRUNCATE x", "GRANT ALL ON x TO y", "MERGE INTO x USING y ON 1=1",
    "SELECT 1 /* ; */ ; DELETE FROM x", "SELECT 1) AS t; DROP TABLE x; --",
]  # fmt: skip
FAIR = [
    "SELECT 1", "select 1;", "(SELECT 1)", "WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT 2",
    "SELECT 'DROP TABLE x; --' AS a -- and a comment",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["duckdb", "postgresql", "snowflake", "bigquery", "trino"])
def test_only_one_select_passes(kind):
    assert [sql for sql in HOSTILE if select.objection(sql, kind) is None] == []
    assert [sql for sql in FAIR if select.objection(sql, kind) is not None] == []


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path):
    (tmp_path / "warehouse.yaml").write_text("database: {kind: duckdb\ntables: [")

    with pytest.raises(DefinitionError, match=r"^warehouse\.yaml:\d+: is not YAML: "):
        load(tmp_path / "warehouse.yaml")
    with pytest.raises(DefinitionError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml")


def test_yes_and_no_are_words():
    assert parse("{yes: granted, no: withdrawn, on: x}") == {"yes": "granted", "no": "withdrawn", "on": "x"}
    assert parse("{a: true}") == {"a": True}


SALES = "CREATE TABLE sales AS SELECT 1 AS id, now() AS placed_at, 1709296215 AS paid_at, 1.5 AS amount, true AS gift"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{table: slaes, columns: {order_id: id, ordered_at: placed_at}}",
         ("tables.orders.table", "must be readable in the warehouse", 'no "slaes"')),
        ("{sql: 'SELECT nothing FROM sales', columns: {order_id: id, ordered_at: placed_at}}",
         ("tables.orders.sql", "must be readable in the warehouse", "a query that it refuses")),
        ("{table: sales, columns: {order_id: id, ordered_at: place_at}}",
         ("tables.orders.columns.ordered_at", "must be a column of the shop's table",
          'no "place_at" (did you mean "placed_at"?)')),
        ("{table: sales, columns: {order_id: id, ordered_at: paid_at}}",
         ("tables.orders.columns.ordered_at", "a time kept as a number needs epoch: s or epoch: ms",
          "paid_at is a whole number")),
        ("{table: sales, columns: {order_id: id, ordered_at: {column: placed_at, epoch: s}}}",
         ("tables.orders.columns.ordered_at", "epoch needs a number", "placed_at is a time with zone")),
        ("{table: sales, columns: {order_id: id, ordered_at: {column: placed_at, zone: Europe/Rome}}}",
         ("tables.orders.columns.ordered_at", "zone is for times without one", "placed_at is a time with zone")),
        ("{table: sales, columns: {order_id: id, ordered_at: placed_at, total: {column: amount, unit: minor}}}",
         ("tables.orders.columns.total", "unit minor needs whole numbers; leave unit out for euros",
          "amount is a decimal number")),
        ("{table: sales, columns: {order_id: id, ordered_at: placed_at, total: gift}}",
         ("tables.orders.columns.total", "must be a number", "gift is a true or false")),
        ("{table: sales, where: {chanel: web}, columns: {order_id: id, ordered_at: placed_at}}",
         ("tables.orders.where", "must be a column of the shop's table", 'no "chanel"')),
        ("{table: sales}",
         ("tables.orders.columns.order_id", "is needed in this table", 'no "order_id"')),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_the_real_tables_is_told(shop, table, problem):
    problems = shop([SALES], f"orders: {table}").describe()

    assert tuple(problems[0]) == problem


def test_a_broken_table_leaves_the_others_readable(shop):
    warehouse = shop([SALES], "{orders: {table: gone, columns: {order_id: id, ordered_at: at}}, stock: {table: gone2}}")

    assert [one.place for one in warehouse.describe()] == ["tables.stock.table", "tables.orders.table"]
    assert warehouse.tables.has("orders", "order_id")
