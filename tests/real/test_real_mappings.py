"""The real shops' raw facts, read through their mappings, are the same on DuckDB and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, exists, func, select

from tidings.warehouse.reader import Warehouse

NOW = datetime(2019, 10, 1, 2, 50, tzinfo=UTC)
DECEMBER = datetime(2010, 12, 1, tzinfo=UTC)


def one(warehouse: Warehouse, query):
    (row,) = warehouse.stream(query)
    return tuple(row)


def test_both_mappings_fit_their_tables(rees46, online_retail):
    assert rees46.describe() == []
    assert online_retail.describe() == []


def test_rees46_has_every_whole_line_and_sets_the_cut_one_aside(rees46, kind):
    events = rees46.tables["product_events"]
    times = select(func.count(), func.count(events.c.customer_id.distinct()), func.max(events.c.occurred_at))

    assert one(rees46, times) == (17434, 4504, NOW)
    if kind == "duckdb":
        assert rees46.set_aside() == {"clicks": 1}


def test_rees46_has_36_carts_that_were_silent_for_exactly_ten_minutes_or_more(rees46):
    events, orders = rees46.tables["product_events"], rees46.tables["orders"]
    carts = (
        select(events.c.customer_id, func.max(events.c.occurred_at).label("last"))
        .where(events.c.kind == "added", events.c.occurred_at <= NOW)
        .group_by(events.c.customer_id)
        .subquery()
    )
    bought = exists().where(orders.c.customer_id == carts.c.customer_id, orders.c.ordered_at >= carts.c.last)
    left = select(func.count()).where(carts.c.last <= NOW - timedelta(minutes=10), ~bought)

    assert one(rees46, left) == (36,)


def test_rees46_has_55_carted_products_that_were_not_bought_later(rees46):
    events, bought = rees46.tables["product_events"], rees46.tables["product_events"].alias("bought")
    carts = (
        select(events.c.customer_id, events.c.sku, func.min(events.c.occurred_at).label("first"))
        .where(events.c.kind == "added")
        .group_by(events.c.customer_id, events.c.sku)
        .subquery()
    )
    same = and_(bought.c.customer_id == carts.c.customer_id, bought.c.sku == carts.c.sku)
    later = exists().where(same, bought.c.kind == "purchased", bought.c.occurred_at >= carts.c.first)

    assert one(rees46, select(func.count()).select_from(carts)) == (123,)
    assert one(rees46, select(func.count()).select_from(carts).where(~later)) == (55,)


def test_online_retail_has_the_valid_sales_and_their_money_to_the_penny(online_retail):
    orders, items = online_retail.tables["orders"], online_retail.tables["order_items"]

    assert one(online_retail, select(func.count(orders.c.customer_id.distinct()))) == (4312,)
    assert one(online_retail, select(func.count()).select_from(items)) == (407664,)
    total = one(online_retail, select(func.sum(orders.c.total)))[0]
    # The raw lines add up to 8,832,003.274; some prices are a tenth of a penny, and an order is whole pence.
    assert total == 883200326


def test_online_retail_has_609_lapsed_customers_and_their_ids_are_whole_numbers(online_retail):
    orders = online_retail.tables["orders"]
    last = func.max(orders.c.ordered_at)
    lapsed = (
        select(orders.c.customer_id)
        .where(orders.c.ordered_at <= DECEMBER)
        .group_by(orders.c.customer_id)
        .having(func.count(orders.c.order_id.distinct()) >= 2, last <= DECEMBER - timedelta(days=90))
    )

    ids = [row.customer_id for row in online_retail.stream(lapsed)]

    assert len(ids) == 609
    assert all(one.isdigit() for one in ids)


def test_online_retail_has_a_price_book_without_overlaps(online_retail):
    prices = online_retail.tables["prices"]
    backwards = select(func.count()).where(prices.c.valid_to <= prices.c.valid_from)

    assert one(online_retail, backwards) == (0,)
    assert one(online_retail, select(func.min(prices.c.amount)))[0] >= 0
