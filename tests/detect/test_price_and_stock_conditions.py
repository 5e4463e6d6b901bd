"""When a price has dropped and when goods are back: every condition of both triggers by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.detect.back_in_stock import BackInStock
from tidings.detect.price_drop import PriceDrop
from tidings.detect.steps import Count, Price, on_hand, public_price, restocks
from tidings.model.entry import Entry, Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = 1440


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def look(minutes: float = 3 * DAY, **more: Any) -> dict[str, Any]:
    return {"customer_id": "ann", "kind": "viewed", "sku": "cup", "occurred_at": ago(minutes), "price": 4000,
            "currency": "EUR", **more}  # fmt: skip


def price(amount: int, since: float, until: float | None = None, **more: Any) -> dict[str, Any]:
    return {"sku": "cup", "currency": "EUR", "amount": amount, "valid_from": ago(since),
            "valid_to": None if until is None else ago(until), **more}  # fmt: skip


def dropped(shop: Any, looks: Any, prices: Any, detect: Any = None, **rows: Any) -> list[Entry]:
    shop.fill(product_events=looks, prices=prices, **rows)
    return list(PriceDrop(**(detect or {})).entries(shop, Window(NOW - timedelta(days=2), NOW)))


WAS = price(4000, 90 * DAY)
PRICES = {
    "a quarter down": ([look()], [WAS, price(3000, 90)], {}, True),
    "exactly a tenth": ([look()], [WAS, price(3600, 90)], {}, True),
    "a cent less than a tenth": ([look()], [WAS, price(3601, 90)], {}, False),
    "exactly four fifths": ([look()], [WAS, price(800, 90)], {}, True),
    "a mistake in the price book": ([look()], [WAS, price(799, 90)], {}, False),
    "a price of zero": ([look()], [WAS, price(0, 90)], {}, False),
    "exactly an hour old": ([look()], [WAS, price(3000, 60)], {}, True),
    "not an hour old": ([look()], [WAS, price(3000, 59)], {}, False),
    "gone back up": ([look()], [WAS, price(3000, 90), price(4000, 30)], {}, False),
    "ended": ([look()], [WAS, price(3000, 90, 30)], {}, False),
    "the first price there is": ([look()], [price(3000, 90)], {}, False),
    "looked after the drop": ([look(80, price=4000)], [WAS, price(3000, 90)], {}, False),
    "looked too long ago": ([look(31 * DAY)], [WAS, price(3000, 90)], {}, False),
    "they saw a lower price": ([look(price=3000)], [WAS, price(3000, 90)], {}, False),
    "they saw no price, the book did": ([look(price=None)], [WAS, price(3000, 90)], {}, True),
    "they saw zero, the book did not": ([look(price=0)], [WAS, price(3000, 90)], {}, True),
    "no price in the book when they looked": (
        [look(80 * DAY, price=None)], [price(4000, 70 * DAY), price(3000, 90)], {"look_back": "90d"}, False),
    "a promotion below the list": (
        [look()], [price(4000, 90 * DAY, kind="list"), price(3000, 90, kind="promo")], {}, True),
    "a price for members": (
        [look()], [price(4000, 90 * DAY, kind="list"), price(3000, 90, kind="member")], {}, False),
    "another currency": ([look(currency="USD")], [WAS, price(3000, 90)], {}, False),
    "another market": (
        [look(market="DE")], [price(4000, 90 * DAY, market="FR"), price(3000, 90, market="FR")], {}, False),
    "the same market": (
        [look(market="DE")], [price(4000, 90 * DAY, market="DE"), price(3000, 90, market="DE")], {}, True),
    "a market's promotion below the list of all markets": (
        [look(market="DE")], [WAS, price(3000, 90, market="DE", kind="promo")], {}, True),
    "a market's promotion, and another market's customer": (
        [look(market="FR")], [WAS, price(3000, 90, market="DE", kind="promo")], {}, False),
    "cheaper in all markets, but not in the one with a list of its own": (
        [look(market="DE")], [WAS, price(3000, 90), price(4000, 90 * DAY, market="DE")], {}, False),
    "nobody knows which market": (
        [look(market=None)], [price(4000, 90 * DAY, market="DE"), price(3000, 90, market="DE"),
                              price(4000, 90 * DAY, market="FR"), price(3900, 90, market="FR")], {}, False),
    "not by the least amount": ([look()], [WAS, price(3000, 90)], {"minimum_amount": {"EUR": 11}}, False),
    "by the least amount": ([look()], [WAS, price(3000, 90)], {"minimum_amount": {"EUR": 10}}, True),
    "another sku": ([look(sku="jug")], [WAS, price(3000, 90)], {}, False),
    "cheaper only lately, as last week": (
        [look(20 * DAY)], [WAS, price(3000, 10 * DAY), price(4000, 5 * DAY), price(3000, 90)], {}, False),
    "cheaper again after a week and more": (
        [look(20 * DAY)], [WAS, price(3000, 10 * DAY), price(4000, 8 * DAY), price(3000, 90)], {}, True),
    "cheaper than last week": (
        [look(20 * DAY)], [WAS, price(3000, 10 * DAY), price(4000, 5 * DAY), price(2900, 90)], {}, True),
    "a flap that never stood": (
        [look()], [WAS, price(3000, 120), price(4000, 100), price(3000, 90)], {}, True),
    "a price that ends with the last second before the next": (
        [look()], [price(4000, 90 * DAY, 90 + 1 / 60), price(3000, 90)], {}, True),
    "off the price book for a while": ([look()], [price(4000, 90 * DAY, 92), price(3000, 90)], {}, False),
}  # fmt: skip


@pytest.mark.parametrize("case", list(PRICES))
def test_a_price_has_dropped(shop, case):
    looks, prices, detect, expected = PRICES[case]

    assert bool(dropped(shop, looks, prices, detect)) is expected


def test_a_wish_counts_until_it_is_taken_back(shop):
    wish = {"customer_id": "ben", "sku": "cup", "added_at": ago(3 * DAY), "price": 4000, "currency": "EUR"}
    rows = {"looks": [look(sku="jug")], "prices": [WAS, price(3000, 90)]}

    kept = dropped(shop, **rows, wishlist=[{**wish, "removed_at": None}])
    taken_back = dropped(shop, **rows, wishlist=[{**wish, "removed_at": ago(DAY)}])

    assert [entry.customer_id for entry in kept] == ["ben"]
    assert taken_back == []


def test_the_price_they_saw_last_decides(shop):
    entry = dropped(shop, [look(price=5000), look(2 * DAY, price=4000)], [WAS, price(3000, 90)])[0]

    assert (entry.facts["seen_price"], entry.facts["price_now"], entry.facts["saving"]) == ("4000", "3000", "1000")
    assert (entry.sku, entry.key) == ("cup", "ann|cup|20260302T103000.000000Z")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"prices": [price(4000, 5)]}, "price_returned"),
        ({"prices": [price(2000, 5)]}, None),
        ({"stock": [{"sku": "cup", "quantity": 0, "observed_at": ago(5)}]}, "out_of_stock"),
        ({"products": [{"sku": "jug", "active": True}]}, "unknown_product"),
    ],
    ids=["gone back up", "cheaper still", "sold out", "not in the catalogue"],
)
def test_before_sending_the_price_is_looked_at_again(shop, rows, reason):
    entries = dropped(shop, [look()], [WAS, price(3000, 90)])

    shop.add(**rows)

    assert PriceDrop().untrue(shop, entries, NOW) == ({entries[0].key: reason} if reason else {})


def count(quantity: int, minutes: float, **more: Any) -> dict[str, Any]:
    return {"sku": "cup", "quantity": quantity, "observed_at": ago(minutes), **more}


def request(minutes: float = DAY, **more: Any) -> dict[str, Any]:
    return {"request_id": "r1", "customer_id": "ann", "sku": "cup", "requested_at": ago(minutes), **more}


def back(shop: Any, counts: Any, requests: Any = None, looks: Any = None, **detect: Any) -> list[Entry]:
    rows = {"stock_requests": [request()] if requests is None else requests}
    if looks:
        rows["product_events"] = looks
    shop.fill(stock=counts, **rows)
    return list(BackInStock(**detect).entries(shop, Window(NOW - timedelta(days=2), NOW)))


OUT = [count(5, 9 * DAY), count(0, 2 * DAY)]
STOCK = {
    "back": ([*OUT, count(3, 60)], {}, True),
    "settled for exactly ten minutes": ([*OUT, count(3, 10)], {}, True),
    "not settled": ([*OUT, count(3, 9)], {}, False),
    "gone again": ([*OUT, count(3, 60), count(0, 30)], {}, False),
    "too few": ([*OUT, count(3, 60)], {"minimum_quantity": 4}, False),
    "few, then enough": ([*OUT, count(3, 60), count(4, 30)], {"minimum_quantity": 4}, True),
    "out for exactly an hour": ([count(5, 9 * DAY), count(0, 120), count(3, 60)], {}, True),
    "not out for an hour": ([count(5, 9 * DAY), count(0, 119), count(3, 60)], {}, False),
    "never out": ([count(5, 9 * DAY), count(9, 60)], {}, False),
    "first counted now": ([count(9, 60)], {}, False),
    "out since long before the request, and not counted since": (
        [count(5, 300 * DAY), count(0, 200 * DAY), count(3, 60)], {}, True),
    "a blip, then back": ([*OUT, count(3, 65), count(0, 62), count(3, 40)], {}, True),
    "negative is out": ([count(5, 9 * DAY), count(-2, 2 * DAY), count(3, 60)], {}, True),
    "there all the time elsewhere": (
        [count(9, 200 * DAY, location="b"), *(c | {"location": "a"} for c in [*OUT, count(3, 60)])], {}, False),
    "one place of two makes enough": (
        [count(0, 2 * DAY, location="a"), count(0, 2 * DAY, location="b"), count(2, 60, location="a"),
         count(2, 50, location="b")], {"minimum_quantity": 4}, True),
}  # fmt: skip


@pytest.mark.parametrize("case", list(STOCK))
def test_goods_are_back(shop, case):
    counts, detect, expected = STOCK[case]

    assert bool(back(shop, counts, **detect)) is expected


REQUESTS = {
    "waiting": (request(), True),
    "asked after it was back": (request(30), False),
    "taken back": (request(cancelled_at=ago(5)), False),
    "run out": (request(expires_at=ago(90)), False),
    "ninety days old": (request(91 * DAY), False),
    "another sku": (request(sku="jug"), False),
    "another market": (request(market="FR"), False),
    "its market": (request(market="DE"), True),
}


@pytest.mark.parametrize("case", list(REQUESTS))
def test_a_request_waits(shop, case):
    asked, expected = REQUESTS[case]

    entries = back(shop, [one | {"market": "DE"} for one in [*OUT, count(3, 60)]], [asked])

    assert bool(entries) is expected


def test_of_two_restocks_since_the_last_look_the_later_is_told_of(shop):
    came_and_went = [count(9, 30 * 60), count(0, 20 * 60)]

    entries = back(shop, [*OUT, *came_and_went, count(3, 60)], [request(3 * DAY)])

    assert [entry.key for entry in entries] == ["r1|20260302T110000.000000Z"]


def test_who_looked_while_it_was_out_hears_of_it_and_who_looked_before_does_not(shop):
    looks = [look(DAY, customer_id="ben"), look(3 * DAY, customer_id="cem"), look(30, customer_id="dan")]

    entries = back(shop, [*OUT, count(3, 60)], [], looks)
    without = back(shop, [*OUT, count(3, 60)], [], looks, viewers=False)

    assert [(entry.customer_id, entry.key) for entry in entries] == [("ben", "ben|cup|20260302T110000.000000Z")]
    assert without == []


def test_a_request_and_a_look_are_one_entry_under_the_request(shop):
    entries = back(shop, [*OUT, count(3, 60)], [request(), request(2 * DAY - 1, request_id="r0")], [look(DAY)])

    assert [entry.key for entry in entries] == ["r0|20260302T110000.000000Z"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"stock": [count(0, 5)]}, "out_of_stock"),
        ({"stock": [count(1, 5)]}, None),
        ({"stock_requests": [request(cancelled_at=ago(5))]}, "not_true"),
        ({"products": [{"sku": "cup", "active": False}]}, "unknown_product"),
    ],
    ids=["sold out again", "some left", "taken back", "taken off the shop"],
)
def test_before_sending_the_shelf_is_looked_at_again(shop, rows, reason):
    entries = back(shop, [*OUT, count(3, 60)])

    shop.add(**rows)

    assert BackInStock().untrue(shop, entries, NOW) == ({entries[0].key: reason} if reason else {})


minutes = st.integers(0, 300)


rows_of_prices = st.lists(
    st.builds(
        Price, st.sampled_from(["list", "promo"]), st.integers(0, 50), minutes.map(ago), st.none() | minutes.map(ago)
    ),
    unique_by=lambda row: (row.kind, row.since),
)


@given(rows_of_prices, minutes.map(ago))
@settings(max_examples=200, deadline=None)
def test_the_public_price_is_the_lowest_row_in_force_at_every_minute(prices, moment):
    in_force = []
    for kind in ("list", "promo"):
        rows = [row for row in prices if row.kind == kind and row.amount and not (row.until and row.until <= row.since)]
        latest = max((row for row in rows if row.since <= moment), key=lambda row: row.since, default=None)
        following = min((row.since for row in rows if row.since > moment), default=None)
        if latest is not None and (
            latest.until is None
            or latest.until > moment
            or (following is not None and following - latest.until <= timedelta(minutes=1))
        ):
            in_force.append(latest.amount)

    assert public_price(prices, NOW).at(moment) == min(in_force, default=None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-1, 2), minutes), max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_restock_was_out_long_enough_and_settled(rows):
    shelf = on_hand([Count((place,), quantity, ago(-at)) for place, quantity, at in rows], ago(-300))
    hour, ten = timedelta(hours=1), timedelta(minutes=10)

    for restock in restocks(shelf, out_for=hour, settle=ten, minimum=2, until=ago(-300)):
        empty = [moment for moment in range(301) if shelf.at(ago(-moment)) == 0 and ago(-moment) < restock.at]
        assert any(all(m in empty for m in range(first, first + 60)) for first in empty)
        held = shelf.between(restock.at, restock.at + ten)
        assert all(value is not None and value >= 2 for value in held)
