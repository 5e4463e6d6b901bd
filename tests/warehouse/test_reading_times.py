"""Whatever way a shop keeps its times, they read as aware UTC instants, and filters mean the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import column, func, select
from sqlalchemy.sql import operators

from tidings.warehouse.pushdown import EpochBack, LocalBack

AT = datetime(2024, 3, 1, 12, 30, 15, tzinfo=UTC)


def mapped_time(how: str) -> str:
    return f"orders: {{table: sales, columns: {{order_id: id, ordered_at: {how}}}}}"


@pytest.mark.parametrize(
    ("kept", "how"),
    [
        ("TIMESTAMPTZ '2024-03-01 13:30:15+01'", "at"),
        ("TIMESTAMP '2024-03-01 12:30:15'", "at"),
        ("TIMESTAMP '2024-03-01 07:30:15'", "{column: at, zone: America/New_York}"),
        ("CAST(1709296215 AS BIGINT)", "{column: at, epoch: s}"),
        ("CAST(1709296215000 AS BIGINT)", "{column: at, epoch: ms}"),
        ("CAST(1709296215000000 AS BIGINT)", "{column: at, epoch: us}"),
        ("CAST(1709296215 AS DOUBLE PRECISION)", "{column: at, epoch: s}"),
        ("CAST('1709296215' AS VARCHAR)", "{column: at, epoch: s}"),
        ("CAST('2024-03-01 12:30:15 UTC' AS VARCHAR)", "at"),
        ("CAST('2024-03-01T13:30:15+01:00' AS VARCHAR)", "at"),
        ("CAST('2024-03-01 12:30:15' AS VARCHAR)", "at"),
        ("CAST('2024-03-01 13:30:15' AS VARCHAR)", "{column: at, zone: Europe/Berlin}"),
        ("CAST('01/03/2024 12:30:15' AS VARCHAR)", '{column: at, format: "%d/%m/%Y %H:%M:%S"}'),
        (
            "CAST('1.3 2024-03-01 133015' AS VARCHAR)",
            '{column: at, format: "1.3 %Y-%m-%d %H%M%S", zone: Europe/Berlin}',
        ),
        ("CAST('Mar 01 2024 12:30:15 PM' AS VARCHAR)", '{column: at, format: "%b %d %Y %I:%M:%S %p"}'),
    ],
)
def test_a_time_kept_in_any_way_reads_as_the_same_instant(shop, kept, how):
    warehouse = shop([f"CREATE TABLE sales AS SELECT 'A1' AS id, {kept} AS at"], mapped_time(how))
    orders = warehouse.tables["orders"]

    (row,) = warehouse.stream(select(orders.c.ordered_at))

    assert row.ordered_at == AT
    assert row.ordered_at.utcoffset() == timedelta(0)
    assert warehouse.describe() == []
    for at, expected in ((AT - timedelta(seconds=1), 1), (AT, 1), (AT + timedelta(microseconds=1), 0)):
        found = list(warehouse.stream(select(orders.c.order_id).where(orders.c.ordered_at >= at)))
        assert len(found) == expected


@pytest.mark.parametrize(
    ("kept", "how"),
    [
        ("'soon'", "at"),
        ("'2023-02-30 12:00:00'", "at"),
        ("'2023-02-29'", "at"),
        ("'30/02/2024 10:00'", '{column: at, format: "%d/%m/%Y %H:%M"}'),
        ("'99/99/2024 10:00'", '{column: at, format: "%d/%m/%Y %H:%M"}'),
        ("'x'", "{column: at, epoch: s}"),
        ("'99999999999999999999'", "{column: at, epoch: s}"),
    ],
)
def test_a_row_whose_required_time_cannot_be_read_is_left_out(shop, kept, how):
    warehouse = shop([f"CREATE TABLE sales AS SELECT 'A1' AS id, CAST({kept} AS VARCHAR) AS at"], mapped_time(how))

    assert list(warehouse.stream(select(warehouse.tables["orders"].c.order_id))) == []


def test_a_column_the_shop_does_not_give_reads_as_nothing(shop):
    warehouse = shop(["CREATE TABLE sales AS SELECT 'A1' AS id, now() AS at"], mapped_time("at"))
    orders = warehouse.tables["orders"]

    (row,) = warehouse.stream(select(orders.c.updated_at, orders.c.total, orders.c.email))

    assert tuple(row) == (None, None, None)
    assert not warehouse.tables.has("orders", "total")
    assert warehouse.tables.has("orders", "order_id", "ordered_at")


def test_two_units_in_one_shop_do_not_share_a_cached_statement(shop):
    tables = """
orders: {table: sales, columns: {order_id: id, ordered_at: {column: at, epoch: s}}}
deliveries: {table: sales, columns: {order_id: id, delivered_at: {column: at, epoch: ms}}}
"""
    warehouse = shop(["CREATE TABLE sales AS SELECT 'A1' AS id, CAST(1709296215 AS BIGINT) AS at"], tables)

    def first(name: str, column: str) -> datetime:
        (row,) = warehouse.stream(select(warehouse.tables[name].c[column]))
        return row[0]

    assert first("orders", "ordered_at") == AT
    assert first("deliveries", "delivered_at") == datetime(1970, 1, 20, 18, 48, 16, 215000, tzinfo=UTC)


def test_times_kept_differently_compare_as_instants(shop):
    tables = """
orders: {table: sales, columns: {order_id: id, ordered_at: {column: at, epoch: s}}}
deliveries: {table: parcels, columns: {order_id: id, delivered_at: {column: at, zone: Asia/Tokyo}}}
"""
    warehouse = shop(
        [
            "CREATE TABLE sales AS SELECT 'A1' AS id, CAST(1709296215 AS BIGINT) AS at",
            "CREATE TABLE parcels AS SELECT 'A1' AS id, TIMESTAMP '2024-03-01 21:30:15' AS at",
        ],
        tables,
    )
    orders, deliveries = warehouse.tables["orders"], warehouse.tables["deliveries"]

    same = select(func.count()).select_from(orders.join(deliveries, orders.c.ordered_at == deliveries.c.delivered_at))

    assert [row[0] for row in warehouse.stream(same)] == [1]


def test_the_earlier_of_a_missing_and_a_given_time_is_read_as_an_instant(shop):
    warehouse = shop(
        ["CREATE TABLE sales AS SELECT 'A1' AS id, TIMESTAMP '2024-03-01 12:30:15' AS at"], mapped_time("at")
    )
    orders = warehouse.tables["orders"]

    (row,) = warehouse.stream(select(func.coalesce(orders.c.updated_at, orders.c.ordered_at).label("at")))

    assert row.at == AT


_instants = st.integers(0, 4102444800_000_000).map(
    lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n)
)
_ops = st.sampled_from([operators.ge, operators.gt, operators.le, operators.lt])


@given(kept=st.integers(0, 4102444800), near=st.integers(-2, 2), micro=st.integers(0, 999_999), op=_ops)
@settings(max_examples=300, deadline=None)
def test_a_filter_on_whole_seconds_finds_what_the_instants_say(kept, near, micro, op):
    bound = datetime.fromtimestamp(kept, UTC) + timedelta(seconds=near, microseconds=micro)
    pushed = EpochBack(1).comparison(op, bound, column("raw"))

    assert pushed is not None
    assert op(kept, pushed.right.value) == op(datetime.fromtimestamp(kept, UTC), bound)


@given(at=_instants, bound=_instants, hours=st.integers(-12, 14), op=_ops)
@settings(max_examples=300, deadline=None)
def test_a_widened_filter_never_loses_a_row(at, bound, hours, op):
    local = at.astimezone(timezone(timedelta(hours=hours))).replace(tzinfo=None)
    pushed = LocalBack(utc=False).comparison(op, bound, column("raw"))

    assert pushed is not None
    assert not op(at, bound) or op(local, pushed.right.value)


def test_only_a_filter_on_utc_stands_without_the_exact_one():
    assert LocalBack(utc=False).widened
    assert not LocalBack(utc=True).widened
