"""When a visit is an abandoned one: every condition of the browse trigger by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidings.detect.browse_abandonment import BrowseAbandonment
from tidings.model.entry import Entry, Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PRODUCTS = [
    {"sku": "cup-s", "product_id": "cup", "active": True}, {"sku": "cup-m", "product_id": "cup", "active": True},
    {"sku": "jug-1", "product_id": "jug", "active": True}, {"sku": "old-1", "product_id": "old", "active": False},
]  # fmt: skip


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def did(kind: str, minutes: float, sku: str | None = "cup-s", **more: Any) -> dict[str, Any]:
    return {"customer_id": "ann", "kind": kind, "sku": sku, "occurred_at": ago(minutes), "price": 4000,
            "currency": "EUR", **more}  # fmt: skip


def order(minutes: float) -> dict[str, Any]:
    return {"order_id": "o1", "customer_id": "ann", "ordered_at": ago(minutes)}


def abandoned(shop: Any, *events: dict[str, Any], orders: Any = (), days: int = 2, **detect: Any) -> list[Entry]:
    shop.fill(product_events=events, orders=orders or [order(50 * 1440)], products=PRODUCTS)
    return list(BrowseAbandonment(**detect).entries(shop, Window(NOW - timedelta(days=days), NOW)))


TWO = [did("viewed", 100), did("viewed", 90)]
CASES = {
    "two views": (TWO, True),
    "two views of two variants": ([did("viewed", 100), did("viewed", 90, "cup-m")], True),
    "one view each of two products": ([did("viewed", 100), did("viewed", 90, "jug-1")], False),
    "one view told twice": ([did("viewed", 90), did("viewed", 90)], False),
    "a view too long ago": ([did("viewed", 90 + 24 * 60), did("viewed", 90)], False),
    "still busy": ([*TWO, did("viewed", 59, "jug-1")], False),
    "busy with the future": ([*TWO, did("viewed", -30)], True),
    "put in the cart": ([*TWO, did("added", 80)], False),
    "another variant put in the cart": ([*TWO, did("added", 80, "cup-m")], False),
    "in the cart and out again": ([*TWO, did("added", 80), did("removed", 79)], False),
    "another product in an open cart": ([did("added", 300, "jug-1"), *TWO], False),
    "another product's cart given up": ([did("added", 300, "jug-1"), did("removed", 290, "jug-1"), *TWO], True),
    "a checkout begun": ([*TWO, did("checkout_started", 80, None)], False),
    "a product no longer sold": ([did("viewed", 100, "old-1"), did("viewed", 90, "old-1")], False),
    "an unknown product": ([did("viewed", 100, "nothing"), did("viewed", 90, "nothing")], False),
    "a price of zero": ([did("viewed", 100, price=0), did("viewed", 90, price=0)], False),
    "no variant chosen": (
        [did("viewed", 100, None, product_id="cup"), did("viewed", 90, None, product_id="cup")], True),
    "nobody's": ([did("viewed", 100, customer_id=None), did("viewed", 90, customer_id=None)], False),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_visit_is_abandoned(shop, case):
    events, expected = CASES[case]

    assert bool(abandoned(shop, *events)) is expected


@pytest.mark.parametrize(
    ("minutes", "within", "found"),
    [(80, "10d", False), (9 * 1440, "10d", False), (11 * 1440, "10d", True), (80, "0h", False), (200, "0h", True)],
    ids=["since the view", "nine days ago", "eleven days ago", "since the view, no peace", "before it, no peace"],
)
def test_who_has_ordered_lately_is_left_in_peace(shop, minutes, within, found):
    assert bool(abandoned(shop, *TWO, orders=[order(minutes)], no_order_within=within)) is found


def test_a_visit_enters_once_by_its_first_view_however_often_it_is_found(shop):
    visit = [did("viewed", minutes) for minutes in (3000, 2000, 1000, 990, 100, 90)]

    shop.fill(product_events=visit, orders=[order(50 * 1440)], products=PRODUCTS)
    found = {
        entry.key
        for hours in range(0, 52)
        for entry in BrowseAbandonment().entries(shop, Window(ago(hours * 60 + 60), ago(hours * 60)))
    }

    assert found == {"ann|20260228T100000.000000Z"}


def test_views_a_day_apart_are_two_visits(shop):
    entries = abandoned(shop, did("viewed", 91 + 1440), did("viewed", 91), did("viewed", 90))

    assert [entry.key for entry in entries] == ["ann|20260302T102900.000000Z"]


def test_the_most_wanted_products_come_first_and_no_more_than_asked_for(shop):
    events = [did("viewed", 100), did("viewed", 95, "jug-1"), did("viewed", 92, "jug-1"), did("viewed", 91, "jug-1"),
              did("viewed", 90)]  # fmt: skip

    entry = abandoned(shop, *events)[0]
    one = abandoned(shop, *events, top=1)[0]

    assert [item.product_id for item in entry.items] == ["jug", "cup"]
    assert [item.sku for item in one.items] == ["jug-1"]


def test_who_views_more_than_a_person_can_is_a_robot(shop):
    views = [did("viewed", 90 + n / 10) for n in range(40)]

    assert abandoned(shop, *views, maximum_views=39) == []
    assert len(abandoned(shop, *views, maximum_views=40)) == 1


BARE = [did("viewed", 100, None, product_id="cup"), did("viewed", 90, None, product_id="cup")]


def counted(minutes: float, **quantities: int) -> list[dict[str, Any]]:
    return [
        {"sku": f"cup-{size}", "quantity": quantity, "observed_at": ago(minutes)}
        for size, quantity in quantities.items()
    ]


@pytest.mark.parametrize(
    ("stock", "shown"),
    [({}, "cup-m"), ({"m": 1, "s": 1}, "cup-m"), ({"m": 0, "s": 1}, "cup-s"), ({"m": 0}, "cup-s"),
     ({"m": 0, "s": 0}, None)],
    ids=["nobody counts", "both are there", "one is sold out", "one was never counted", "both are sold out"],
)  # fmt: skip
def test_without_a_variant_any_that_is_there_stands_for_the_product(shop, stock, shown):
    shop.fill(product_events=BARE, orders=[order(50 * 1440)], products=PRODUCTS, stock=counted(300, **stock))

    found = list(BrowseAbandonment().entries(shop, Window(NOW - timedelta(days=2), NOW)))

    assert [item.sku for entry in found for item in entry.items] == ([shown] if shown else [])


def test_when_the_variant_that_would_be_shown_is_gone_nobody_is_written_to(shop):
    shop.fill(
        product_events=BARE, orders=[order(50 * 1440)], products=PRODUCTS,
        stock=[*counted(300, m=0, s=1), *counted(20, m=5, s=0)],
    )  # fmt: skip
    found = list(BrowseAbandonment().entries(shop, Window(ago(2 * 1440), ago(25))))

    assert [item.sku for item in found[0].items] == ["cup-s"]
    assert BrowseAbandonment().untrue(shop, found, NOW) == {found[0].key: "out_of_stock"}
    assert BrowseAbandonment().untrue(shop, found, ago(25)) == {}


LATER = {
    "bought": ({"orders": [order(30)]}, "purchased"),
    "carted": ({"product_events": [did("added", 30)]}, "not_true"),
    "checked out": ({"product_events": [did("checkout_started", 30, None)]}, "not_true"),
    "looked again": ({"product_events": [did("viewed", 30)]}, None),
    "sold out": ({"stock": [{"sku": "cup-s", "quantity": 0, "observed_at": ago(30)}]}, "out_of_stock"),
    "taken off the shop": ({"products": [{"sku": "cup-s", "product_id": "cup", "active": False}]}, "unknown_product"),
}


@pytest.mark.parametrize("case", list(LATER))
def test_before_sending_the_visit_is_looked_at_again(shop, case):
    rows, reason = LATER[case]
    entries = abandoned(shop, *TWO)

    # What is appended to a log replaces what stands in a catalogue.
    shop.fill(**{**shop.held, **{n: (shop.held.get(n, []) if n != "products" else []) + r for n, r in rows.items()}})
    found = BrowseAbandonment().untrue(shop, entries, NOW)

    assert found == ({entries[0].key: reason} if reason else {})


def test_a_look_back_shorter_than_the_silence_is_refused():
    with pytest.raises(ValueError, match="look_back must be longer than idle"):
        BrowseAbandonment(look_back="30m")
