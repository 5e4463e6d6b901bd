"""An order is read once, with what was given back of it, whoever it was placed under; on DuckDB and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tidings.warehouse.orders import holders, sales, sales_of
from tidings.warehouse.reader import Warehouse

OpenShop = Callable[[list[str], str], Warehouse]
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
SHOP = [
    "CREATE TABLE customers (customer_id TEXT, email TEXT)",
    "INSERT INTO customers VALUES ('ann', ' Home@post.example '), ('bo', 'home@post.example'), ('cy', NULL)",
    "CREATE TABLE orders (order_id TEXT, customer_id TEXT, email TEXT, status TEXT, total BIGINT, currency TEXT,"
    " ordered_at TIMESTAMPTZ, updated_at TIMESTAMPTZ)",
    "INSERT INTO orders VALUES"
    " ('o1', 'ann', NULL, 'placed', 900, 'EUR', '2026-03-02 09:00:00+00', NULL),"
    " ('o1', 'ann', NULL, 'completed', 1000, 'EUR', '2026-03-02 09:00:00+00', '2026-03-03 09:00:00+00'),"
    " ('o2', NULL, 'HOME@post.example', 'cancelled', 500, 'EUR', '2026-03-05 09:00:00+00', NULL),"
    " ('o3', 'cy', NULL, 'refunded', 700, 'EUR', '2026-03-06 09:00:00+00', NULL),"
    " ('o4', 'cy', NULL, 'completed', 700, 'EUR', '2026-04-06 09:00:00+00', NULL)",
    "CREATE TABLE refunds (order_id TEXT, amount BIGINT, currency TEXT, refunded_at TIMESTAMPTZ)",
    "INSERT INTO refunds VALUES"
    " ('o1', 100, 'EUR', '2026-03-04 09:00:00+00'), ('o1', 50, NULL, '2026-03-04 09:00:00+00'),"
    " ('o1', 7, 'USD', '2026-03-04 09:00:00+00'), ('o1', 70, 'EUR', '2026-04-04 09:00:00+00')",
    "CREATE TABLE order_items (order_id TEXT, sku TEXT, amount BIGINT)",
    "INSERT INTO order_items VALUES ('o1', 'a', 400), ('o1', 'b', 550)",
]
TABLES = "{customers: {}, orders: {}, refunds: {}}"


def test_of_an_orders_rows_the_newest_counts_and_refunds_once(shop: OpenShop) -> None:
    found = sorted(sales(shop(SHOP, TABLES), START, END), key=lambda sale: sale.order_id)

    assert [(one.order_id, one.total, one.refunded, one.undone) for one in found] == [
        ("o1", 1_000, 150, False), ("o2", 500, 0, True), ("o3", 700, 0, True),
    ]  # fmt: skip


def test_an_order_under_an_address_belongs_to_all_who_have_it(shop: OpenShop) -> None:
    warehouse = shop(SHOP, TABLES)

    theirs = sorted(one.order_id for one in sales_of(warehouse, ["bo"], START, END))

    assert theirs == ["o2"]
    assert holders(warehouse, ["o1", "o2"]) == {"home@post.example": {"ann", "bo"}}


def test_an_order_without_a_total_is_worth_its_lines(shop: OpenShop) -> None:
    columns = "order_id: order_id, customer_id: customer_id, ordered_at: ordered_at, currency: currency"
    warehouse = shop(SHOP, f"{{orders: {{columns: {{{columns}}}}}, order_items: {{}}}}")

    found = {one.order_id: one.total for one in sales(warehouse, START, END)}

    assert found == {"o1": 950, "o2": 0, "o3": 0}
