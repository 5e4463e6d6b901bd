"""Money reads as whole minor units, ids as text, the shop's words as ours; what cannot be read is NULL."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tidings.errors import WarehouseError
from tidings.model.money import minor
from tidings.warehouse.mapping import Mapping
from tidings.warehouse.reader import open_shop

NOW = "TIMESTAMPTZ '2024-03-01 12:00:00+00' AS at"


def orders(columns: str) -> str:
    return f"orders: {{table: sales, columns: {{order_id: id, ordered_at: at, {columns}}}}}"


def only(warehouse, *names):
    table = warehouse.tables["orders"]
    return [tuple(row) for row in warehouse.stream(select(*(table.c[name] for name in names)).order_by(names[0]))]


@pytest.mark.parametrize(
    ("kept", "currency", "minor_units"),
    [
        ("CAST(35.79 AS DOUBLE PRECISION)", "EUR", 3579),
        ("CAST(2.675 AS DOUBLE PRECISION)", "EUR", 268),
        ("CAST(1.005 AS DOUBLE PRECISION)", "EUR", 101),
        ("CAST(35.79 AS DECIMAL(10, 2))", "EUR", 3579),
        ("CAST('35.79' AS VARCHAR)", "EUR", 3579),
        ("CAST(35 AS INTEGER)", "EUR", 3500),
        ("CAST(1980 AS INTEGER)", "JPY", 1980),
        ("CAST(1.2345 AS DOUBLE PRECISION)", "KWD", 1235),
        ("CAST('free' AS VARCHAR)", "EUR", None),
        ("CAST('NaN' AS DOUBLE PRECISION)", "EUR", None),
        ("CAST(-12.5 AS DOUBLE PRECISION)", "EUR", -1250),
    ],
)
def test_an_amount_reads_as_minor_units_of_the_rows_own_currency(shop, kept, currency, minor_units):
    made = f"CREATE TABLE sales AS SELECT 'A1' AS id, {NOW}, {kept} AS paid, CAST('{currency}' AS VARCHAR) AS ccy"

    by_row = shop([made], orders("total: paid, currency: ccy"))
    constant = shop([made], orders(f"total: paid, currency: {{constant: {currency}}}"))
    beside = shop([made], orders("total: {column: paid, currency_column: ccy}"))

    assert only(by_row, "total", "currency") == [(minor_units, currency)]
    assert only(constant, "total", "currency") == [(minor_units, currency)]
    assert only(beside, "total", "currency") == [(minor_units, None)]


@pytest.mark.parametrize("kept", ["CAST(3579 AS INTEGER)", "CAST('3579' AS VARCHAR)", "CAST(3579 AS DECIMAL(10, 0))"])
def test_an_amount_in_minor_units_stays_as_it_is(shop, kept):
    warehouse = shop(
        [f"CREATE TABLE sales AS SELECT 'A1' AS id, {NOW}, {kept} AS paid"],
        orders("total: {column: paid, unit: minor}"),
    )

    assert only(warehouse, "total") == [(3579,)]


@pytest.fixture(scope="module")
def amounts(tmp_path_factory):
    """A file whose only amount the property rewrites, and the mapping over it."""
    folder = tmp_path_factory.mktemp("amounts")
    tables = {
        "orders": {
            "table": "sales",
            "columns": {"order_id": "id", "ordered_at": "at", "total": "paid", "currency": "ccy"},
        }
    }
    return folder, Mapping.model_validate({"database": {"kind": "duckdb", "path": "s.duckdb"}, "tables": tables})


@given(
    st.lists(
        st.tuples(
            st.decimals(-1_000_000, 1_000_000, places=3, allow_nan=False), st.sampled_from(["EUR", "JPY", "KWD", "USD"])
        ),
        min_size=1,
        max_size=50,
    )
)
@settings(max_examples=25, deadline=None)
def test_every_amount_reads_as_the_money_rule_says_even_when_kept_as_a_float(amounts, rows):
    folder, mapping = amounts
    with duckdb.connect(str(folder / "s.duckdb")) as connection:
        connection.execute('CREATE OR REPLACE TABLE sales (id VARCHAR, "at" TIMESTAMPTZ, paid DOUBLE, ccy VARCHAR)')
        connection.executemany(
            "INSERT INTO sales VALUES (?, now(), ?, ?)",
            [[f"{n:03}", float(amount), ccy] for n, (amount, ccy) in enumerate(rows)],
        )

    with open_shop(mapping, folder) as warehouse:
        found = only(warehouse, "order_id", "total")

    assert [total for _, total in found] == [minor(Decimal(amount), ccy) for amount, ccy in rows]


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ("CAST(13085 AS BIGINT)", "13085"),
        ("CAST(13085.0 AS DOUBLE PRECISION)", "13085"),
        ("CAST('00123' AS VARCHAR)", "00123"),
        ("CAST(2103807459595387724 AS BIGINT)", "2103807459595387724"),
    ],
)
def test_an_id_kept_as_a_number_reads_as_its_text_and_is_found_by_it(shop, kept, text):
    warehouse = shop([f"CREATE TABLE sales AS SELECT {kept} AS id, {NOW}"], orders("email: id"))
    table = warehouse.tables["orders"]

    assert only(warehouse, "order_id") == [(text,)]
    for asked, count in (([text, "x"], 1), (["0" + text], 0), ([], 0), (["' OR 1=1"], 0)):
        assert len(list(warehouse.stream(select(table.c.order_id).where(table.c.order_id.in_(asked))))) == count
    assert len(list(warehouse.stream(select(table.c.order_id).where(table.c.order_id == text)))) == 1


def test_a_number_that_is_no_id_reads_as_missing(shop):
    made = f"CREATE TABLE sales AS SELECT 'A1' AS id, {NOW}, CAST('NaN' AS DOUBLE PRECISION) AS who"

    assert only(shop([made], orders("customer_id: who")), "customer_id") == [(None,)]


def test_the_shops_words_read_as_ours_and_a_row_with_an_unknown_required_word_is_left_out(shop):
    made = """CREATE TABLE clicks AS SELECT * FROM (VALUES
        ('c1', 'view'), ('c2', 'look'), ('c3', 'basket'), ('c4', 'scroll'), ('c5', NULL)) AS t(who, what)"""
    tables = """
product_events:
  sql: "SELECT who, what, TIMESTAMPTZ '2024-03-01 12:00:00+00' AS at FROM clicks"
  columns:
    customer_id: who
    kind: {column: what, values: {view: viewed, look: viewed, basket: added}}
    occurred_at: at
"""
    warehouse = shop([made], tables)
    events = warehouse.tables["product_events"]

    def kinds(*where):
        asked = select(events.c.customer_id, events.c.kind).where(*where).order_by(events.c.customer_id)
        return [tuple(row) for row in warehouse.stream(asked)]

    assert kinds() == [("c1", "viewed"), ("c2", "viewed"), ("c3", "added")]
    assert kinds(events.c.kind == "viewed") == [("c1", "viewed"), ("c2", "viewed")]
    assert kinds(events.c.kind.in_(["added", "removed"])) == [("c3", "added")]
    assert kinds(events.c.kind.in_(["removed"])) == []
    assert kinds(events.c.kind != "viewed") == [("c3", "added")]


def test_an_unquoted_yes_in_a_value_map_means_the_word(shop):
    made = f"CREATE TABLE sales AS SELECT 'yes' AS id, {NOW}"

    warehouse = shop([made], orders("status: {column: id, values: {yes: completed, no: cancelled}}"))

    assert only(warehouse, "status") == [("completed",)]


def test_a_table_that_already_has_our_names_needs_no_columns(shop):
    made = "CREATE TABLE orders AS SELECT 'A1' AS order_id, CAST(1250 AS BIGINT) AS total, now() AS ordered_at"

    warehouse = shop([made], "orders: {}")

    assert only(warehouse, "order_id", "total", "email") == [("A1", 1250, None)]
    assert not warehouse.tables.has("orders", "email")


def test_a_table_without_columns_whose_money_is_not_in_cents_is_refused(shop):
    made = (
        "CREATE TABLE orders AS SELECT 'A1' AS order_id, CAST(12.5 AS DOUBLE PRECISION) AS total, now() AS ordered_at"
    )

    with pytest.raises(WarehouseError, match=r"tables\.orders\.columns: must be given, as total is not in whole cents"):
        _ = shop([made], "orders: {}").tables


def test_where_keeps_only_the_rows_that_count(shop):
    made = """CREATE TABLE sales AS SELECT *, now() AS at FROM (VALUES ('a', 'web', 1), ('b', 'shop', 1),
        ('c', 'app', 2)) AS t(id, channel, test)"""
    tables = "orders: {table: sales, where: {channel: [web, app], test: 1}, columns: {order_id: id, ordered_at: at}}"

    assert only(shop([made], tables), "order_id") == [("a",)]


def test_a_column_is_found_when_only_its_case_differs(shop):
    made = "CREATE TABLE sales AS SELECT 'A1' AS \"InvoiceNo\", now() AS at"

    warehouse = shop([made], "orders: {table: sales, columns: {order_id: invoiceno, ordered_at: AT}}")

    assert only(warehouse, "order_id") == [("A1",)]
    assert warehouse.describe() == []


def test_a_sql_table_may_hold_colons_percents_and_comments(shop):
    tables = """
orders:
  sql: |
    SELECT 'a:b' || '%s' AS id, CAST('2024-03-01 12:30:00+00' AS timestamptz) AS at, 5::integer AS n -- one: day
  columns: {order_id: id, ordered_at: at}
"""
    assert only(shop([], tables), "order_id") == [("a:b%s",)]
