"""What a product costs at a moment, and what may be said of its price (Directive 98/6/EC, article 6a)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.warehouse import catalogue
from tidings.warehouse.catalogue import PriceNow, Span, price_now

DAY_0 = datetime(2024, 1, 1, tzinfo=UTC)


def day(n: float) -> datetime:
    return DAY_0 + timedelta(days=n)


def book(*spans: tuple[int, float, float | None]) -> list[Span]:
    return [Span(amount, day(since), None if until is None else day(until)) for amount, since, until in spans]


@pytest.mark.parametrize(
    ("lists", "now"),
    [
        ([book((100, 0, None))], PriceNow(100)),
        ([book((100, 0, 40), (80, 40, None))], PriceNow(80, 100, day(40), 100)),
        ([book((100, 0, 30), (80, 30, None))], PriceNow(80, 100, day(30), 100)),
        ([book((100, 0, 29), (80, 29, None))], PriceNow(80, 100, day(29), None)),
        ([book((100, 0, 40), (70, 40, 45), (100, 45, 50), (80, 50, None))], PriceNow(80, 100, day(50), 70)),
        ([book((100, 0, 10), (70, 10, 20), (100, 20, 50), (80, 50, None))], PriceNow(80, 100, day(50), 100)),
        ([book((100, 0, 40), (80, 41, None))], PriceNow(80)),
        ([book((90, 0, 20), (100, 21, 50), (80, 50, None))], PriceNow(80, 100, day(50), None)),
        ([book((80, 0, 40), (100, 40, None))], PriceNow(100)),
        ([book((100, 0, None)), book((80, 50, 70))], PriceNow(80, 100, day(50), 100)),
        ([book((100, 0, None)), book((80, 50, 55))], PriceNow(100)),
        ([book((100, 0, 50))], None),
        ([book((100, 70, None))], None),
    ],
    ids=[
        "never changed", "reduced", "exactly 30 days", "29 days of history", "a flash sale before counts",
        "a sale long before does not", "sold again after a gap", "a gap in the 30 days", "raised", "on promotion",
        "promotion over", "no longer sold", "not yet sold",
    ],
)  # fmt: skip
def test_the_price_on_day_60_and_its_reduction(lists, now):
    assert price_now(lists, day(60)) == now


@given(
    st.lists(st.tuples(st.integers(50, 60), st.integers(1, 25)), min_size=1, max_size=12),
    st.integers(0, 400),
)
@settings(max_examples=300, deadline=None)
def test_the_prior_price_is_the_lowest_of_every_hour_of_the_30_days_before(changes, asked):
    since, lists = 0, []
    for amount, length in changes:
        lists.append(Span(amount, day(since), day(since + length)))
        since += length
    now = price_now([lists], day(asked))

    def at(hour: float) -> int | None:
        return next((one.amount for one in lists if one.since <= day(hour) < (one.until or day(9999))), None)

    assert (now.amount if now else None) == at(asked)
    if now and now.lowest_30d is not None and now.reduced_at is not None:
        start = (now.reduced_at - DAY_0).days
        assert now.lowest_30d == min(at(hour / 2) or 0 for hour in range((start - 30) * 2, start * 2))
        assert now.previous == at(start - 0.5)
        assert now.amount < now.previous


SHOP = [
    """CREATE TABLE products (sku varchar, product_id varchar, name varchar, size varchar, colour varchar,
       active boolean, cost bigint)""",
    """INSERT INTO products VALUES ('s1', 'p1', 'Shirt', 'M', 'Blue', true, 500), ('s2', 'p2', 'Hat', NULL, NULL, NULL,
       NULL), ('s3', 'p3', 'Sock', NULL, NULL, false, NULL)""",
    """CREATE TABLE prices (sku varchar, market varchar, currency varchar, kind varchar, amount bigint,
       valid_from timestamptz, valid_to timestamptz)""",
    """INSERT INTO prices VALUES ('s1', 'de', 'EUR', 'list', 3000, '2024-01-01 00:00:00+00', NULL),
       ('s1', 'de', 'EUR', 'promo', 2000, '2024-03-01 00:00:00+00', '2024-03-31 00:00:00+00'),
       ('s1', 'de', 'EUR', 'member', 100, '2024-01-01 00:00:00+00', NULL),
       ('s1', 'us', 'USD', 'list', 3500, '2024-01-01 00:00:00+00', NULL),
       ('s2', NULL, 'EUR', NULL, 900, '2024-01-01 00:00:00+00', NULL),
       ('s2', NULL, 'GBP', NULL, 800, '2024-01-01 00:00:00+00', NULL)""",
    "CREATE TABLE stock (sku varchar, market varchar, location varchar, quantity integer, observed_at timestamptz)",
    """INSERT INTO stock VALUES ('s1', 'de', 'berlin', 9, '2024-03-01 00:00:00+00'),
       ('s1', 'de', 'berlin', 2, '2024-03-02 00:00:00+00'),
       ('s1', 'de', 'hamburg', 3, '2024-03-01 00:00:00+00'), ('s1', 'us', 'austin', 50, '2024-03-01 00:00:00+00'),
       ('s1', NULL, 'web', 10, '2024-03-01 00:00:00+00'), ('s1', 'de', 'berlin', 99, '2024-03-20 00:00:00+00')""",
]
TABLES = "{products: {}, prices: {}, stock: {}}"


def test_a_product_has_the_price_and_the_stock_of_its_market_at_the_moment(shop):
    warehouse = shop(SHOP, TABLES)

    found = catalogue.products(warehouse, ["s1", "gone"], "de", datetime(2024, 3, 10, tzinfo=UTC))

    assert set(found) == {"s1"}
    shirt = found["s1"]
    assert (shirt.price, shirt.currency, shirt.previous_price, shirt.lowest_30d) == (2000, "EUR", 3000, 3000)
    assert (shirt.reduced_at, shirt.stock) == (datetime(2024, 3, 1, tzinfo=UTC), 15)
    assert (shirt.name, shirt.option, shirt.cost, shirt.active) == ("Shirt", "Blue, M", 500, True)


def test_nothing_later_than_the_moment_is_looked_at(shop):
    warehouse = shop(SHOP, TABLES)

    shirt = catalogue.products(warehouse, ["s1"], "de", datetime(2024, 2, 1, tzinfo=UTC))["s1"]

    assert (shirt.price, shirt.previous_price, shirt.stock) == (3000, None, None)


def test_a_price_in_several_currencies_is_not_guessed(shop):
    warehouse = shop(SHOP, TABLES)
    now = datetime(2024, 3, 10, tzinfo=UTC)

    unasked = catalogue.products(warehouse, ["s2"], None, now)["s2"]
    asked = catalogue.products(warehouse, ["s2"], None, now, currency="GBP")["s2"]

    assert (unasked.price, unasked.currency) == (None, None)
    assert (asked.price, asked.currency, asked.active) == (800, "GBP", True)


def test_a_price_that_ends_with_the_last_second_before_the_next_leaves_no_gap(shop):
    warehouse = shop(
        [
            *SHOP[:3],
            """INSERT INTO prices VALUES ('s3', NULL, 'EUR', NULL, 900, '2024-01-01 00:00:00+00',
               '2024-02-29 23:59:59+00'), ('s3', NULL, 'EUR', NULL, 700, '2024-03-01 00:00:00+00', NULL)""",
        ],
        "{products: {}, prices: {}}",
    )  # fmt: skip

    sock = catalogue.products(warehouse, ["s3"], None, datetime(2024, 3, 10, tzinfo=UTC))["s3"]

    assert (sock.price, sock.previous_price, sock.lowest_30d) == (700, 900, 900)


@pytest.mark.parametrize(
    ("market", "kind", "amount", "since", "price"),
    [("NULL", "list", 0, 3, 900), ("'de'", "list", 1100, 1, 1100), ("'de'", "promo", 700, 1, 700),
     ("'fr'", "promo", 700, 1, 900)],
    ids=["zero is no price", "the market's own list", "the market's promotion", "another market's promotion"],
)  # fmt: skip
def test_a_market_pays_its_own_price_and_else_that_of_all_markets(shop, market, kind, amount, since, price):
    rows = f"""('s3', NULL, 'EUR', 'list', 900, '2024-01-01 00:00:00+00', NULL),
               ('s3', {market}, 'EUR', '{kind}', {amount}, '2024-0{since}-01 00:00:00+00', NULL)"""
    warehouse = shop([*SHOP[:3], f"INSERT INTO prices VALUES {rows}"], "{products: {}, prices: {}}")

    sock = catalogue.products(warehouse, ["s3"], "de", datetime(2024, 3, 10, tzinfo=UTC), currency="EUR")["s3"]

    assert sock.price == price


def test_of_several_markets_prices_none_is_guessed(shop):
    rows = """('s3', 'de', 'EUR', 'list', 900, '2024-01-01 00:00:00+00', NULL),
              ('s3', 'fr', 'EUR', 'list', 800, '2024-01-01 00:00:00+00', NULL)"""
    warehouse = shop([*SHOP[:3], f"INSERT INTO prices VALUES {rows}"], "{products: {}, prices: {}}")
    now = datetime(2024, 3, 10, tzinfo=UTC)

    found = {market: catalogue.products(warehouse, ["s3"], market, now)["s3"].price for market in (None, "de", "fr")}

    assert found == {None: None, "de": 900, "fr": 800}


def test_a_place_that_owes_goods_counts_as_empty(shop):
    counts = "('s3', NULL, 'a', 3, '2024-03-01 00:00:00+00'), ('s3', NULL, 'b', -5, '2024-03-01 00:00:00+00')"
    warehouse = shop([*SHOP[:2], SHOP[4], f"INSERT INTO stock VALUES {counts}"], "{products: {}, stock: {}}")

    assert catalogue.products(warehouse, ["s3"], "de", datetime(2024, 3, 10, tzinfo=UTC))["s3"].stock == 3


def test_a_product_that_is_off_sale_says_so(shop):
    warehouse = shop(SHOP, TABLES)

    assert not catalogue.products(warehouse, ["s3"], None, day(60))["s3"].active
