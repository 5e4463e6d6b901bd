"""When a cart is an abandoned one: every condition of the cart trigger by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidings.detect.cart_abandonment import CartAbandonment
from tidings.model.entry import Entry, Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PRODUCTS = [{"sku": "cup", "active": True}, {"sku": "jug", "active": True}, {"sku": "old", "active": False}]


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def change(kind: str, minutes: float, sku: str | None = "cup", **more: Any) -> dict[str, Any]:
    return {"customer_id": "ann", "kind": kind, "sku": sku, "occurred_at": ago(minutes), "price": 4000,
            "currency": "EUR", **more}  # fmt: skip


def order(minutes: float, **more: Any) -> dict[str, Any]:
    return {"order_id": "o1", "customer_id": "ann", "ordered_at": ago(minutes), "status": "placed", **more}


def abandoned(shop: Any, *changes: dict[str, Any], orders: Any = (), end: datetime = NOW, **detect: Any) -> list[Entry]:
    more = {"products": PRODUCTS}
    shop.fill(product_events=changes, orders=orders or [order(10_000)], **more)
    return list(CartAbandonment(**detect).entries(shop, Window(end - timedelta(days=20), end)))


def inside(entries: list[Entry]) -> dict[str, int]:
    return {item.sku: item.quantity for entry in entries for item in entry.items}


FOLDS = {
    "two adds count twice": ([change("added", 90), change("added", 80)], {"cup": 2}),
    "a removal without a number takes the line":
        ([change("added", 90), change("added", 85, "jug"), change("removed", 80)], {"jug": 1}),
    "a removal takes its number":
        ([change("added", 90, quantity=3), change("removed", 80, quantity=1)], {"cup": 2}),
    "never less than nothing":
        ([change("added", 90), change("removed", 85, quantity=5), change("added", 80, quantity=2)], {"cup": 2}),
    "a quantity is set, not added":
        ([change("added", 90, quantity=3), change("quantity_set", 80, quantity=2)], {"cup": 2}),
    "set to nothing is empty": ([change("added", 90), change("quantity_set", 80, quantity=0)], {}),
    "cleared is empty": ([change("added", 90), change("cart_cleared", 80, None)], {}),
    "put in after clearing counts":
        ([change("added", 90), change("cart_cleared", 80, None), change("added", 70, "jug")], {"jug": 1}),
    "taken out but never put in is uncertain": ([change("removed", 90, "jug"), change("added", 80)], {}),
    "clearing makes it certain again":
        ([change("removed", 90, "jug"), change("cart_cleared", 85, None), change("added", 80)], {"cup": 1}),
    "told twice with one id counts once":
        ([change("added", 90, event_id="e1"), change("added", 90, event_id="e1")], {"cup": 1}),
    "told twice without an id counts once": ([change("added", 90), change("added", 90)], {"cup": 1}),
    "two ids at one instant count twice":
        ([change("added", 90, event_id="e1"), change("added", 90, event_id="e2")], {"cup": 2}),
    "our own recovery page changes nothing":
        ([change("added", 90, source=None), change("added", 5, source="recovery")], {"cup": 1}),
    "a price of zero is set aside": ([change("added", 90, price=0), change("added", 80, "jug")], {"jug": 1}),
    "only a price of zero is no cart": ([change("added", 90, price=0)], {}),
    "an unknown product is set aside": ([change("added", 90, "nothing"), change("added", 80)], {"cup": 1}),
    "only unknown products are no cart": ([change("added", 90, "nothing")], {}),
    "a product no longer sold is set aside": ([change("added", 90, "old")], {}),
    "events without a person are nobody's": ([change("added", 90, customer_id=None)], {}),
    "a product that is not named is set aside": ([change("added", 90, None)], {}),
    "a nonsense quantity is set aside":
        ([change("added", 90, quantity=-3), change("added", 80, quantity=1)], {"cup": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(FOLDS))
def test_a_cart_holds_what_its_changes_leave(shop, case):
    changes, expected = FOLDS[case]

    assert inside(abandoned(shop, *changes)) == expected


ORDERS = {
    "after the last change": ([order(50)], False),
    "at the last change": ([order(90)], False),
    "within the grace before it": ([order(100)], False),
    "before the grace": ([order(101)], True),
    "cancelled": ([order(50, status="cancelled")], True),
    "failed": ([order(50, status="failed")], True),
    "without a status": ([order(50, status=None)], False),
    "somebody else's": ([order(50, customer_id="ben")], True),
    "somebody else's with this cart": ([order(50, customer_id="ben", cart_id="k1")], False),
    "later than the window": ([order(-1)], True),
}


@pytest.mark.parametrize("case", list(ORDERS))
def test_an_order_closes_a_cart_when_it_stands(shop, case):
    orders, open_ = ORDERS[case]

    assert bool(abandoned(shop, change("added", 90, cart_id="k1"), orders=orders)) is open_


def test_a_guest_order_without_an_address_is_nobodys(shop):
    people = [{"customer_id": "ann", "email": ""}, {"customer_id": "ben", "email": " "}]
    shop.fill(product_events=[change("added", 90)], orders=[order(50, customer_id=None, email="")], products=PRODUCTS,
              customers=people)  # fmt: skip

    entries = list(CartAbandonment().entries(shop, Window(ago(1440), NOW)))

    assert len(entries) == 1
    assert CartAbandonment().untrue(shop, entries, NOW) == {}


def test_what_was_bought_is_not_left_in_the_cart(shop):
    entries = abandoned(shop, change("added", 300), change("added", 90, "jug"), orders=[order(200)])

    assert inside(entries) == {"jug": 1}


@pytest.mark.parametrize(
    ("changes", "least", "found"),
    [
        ([change("added", 90)], {"EUR": 40}, True),
        ([change("added", 90)], {"EUR": 40.01}, False),
        ([change("added", 90, quantity=2)], {"EUR": 80}, True),
        ([change("added", 90, price=None)], {"EUR": 1}, False),
        ([change("added", 90, currency="USD")], {"EUR": 1}, True),
        ([change("added", 90, "jug", currency="USD"), change("added", 80)], {"EUR": 41}, False),
    ],
    ids=["exactly", "a cent below", "two of them", "price unknown", "currency not named", "two currencies do not add"],
)
def test_a_cart_must_be_worth_the_least_in_its_currency(shop, changes, least, found):
    assert bool(abandoned(shop, *changes, minimum_value=least)) is found


def test_a_currency_without_a_least_value_is_said_so_before_sending(shop):
    trigger = CartAbandonment(minimum_value={"EUR": 1})
    entries = abandoned(shop, change("added", 90, currency="USD"), minimum_value={"EUR": 1})

    assert list(trigger.untrue(shop, entries, NOW).values()) == ["no_currency"]


def test_two_carts_of_one_customer_are_two_entries_with_their_own_keys(shop):
    entries = abandoned(shop, change("added", 90, cart_id="k1"), change("added", 80, "jug", cart_id="k2"))

    assert sorted(entry.key for entry in entries) == ["k1|20260302T103000.000000Z", "k2|20260302T104000.000000Z"]


def test_carts_older_than_the_stated_age_are_left_alone(shop):
    assert abandoned(shop, change("added", 2 * 1440)) != []
    assert abandoned(shop, change("added", 2 * 1440), max_age="1d") == []


CLOCKS = {
    "the client's clock": (ago(90), ago(89), ago(90)),
    "a phone that was offline for days": (ago(5 * 1440), ago(90), ago(5 * 1440)),
    "a clock years behind": (ago(3000 * 1440), ago(90), ago(90)),
    "a clock hours ahead": (NOW + timedelta(hours=9), ago(90), ago(90)),
    "a clock minutes ahead": (ago(86), ago(90), ago(86)),
}


@pytest.mark.parametrize("case", list(CLOCKS))
def test_an_event_counts_at_the_clients_time_unless_that_cannot_be(shop, case):
    occurred_at, received_at, expected = CLOCKS[case]

    entries = abandoned(shop, {**change("added", 0), "occurred_at": occurred_at, "received_at": received_at})

    assert [entry.anchor_at for entry in entries] == [expected]


def test_a_device_belongs_to_whoever_closes_the_stretch_and_to_nobody_after_a_logout(shop):
    login = {"alias": "phone", "kind": "anonymous", "valid_to": None}
    device = {"customer_id": None, "anonymous_id": "phone"}
    shop.fill(
        product_events=[
            change("added", 500, "cup", cart_id="1", **device), change("added", 380, "jug", cart_id="2", **device),
            change("added", 320, "cup", cart_id="3", **device), change("added", 90, "cup", cart_id="4", **device),
        ],
        orders=[order(10_000)],
        identities=[
            {**login, "customer_id": "ann", "valid_from": ago(400), "valid_to": ago(350)},
            {**login, "customer_id": "ben", "valid_from": ago(300), "valid_to": ago(200)},
        ],
    )  # fmt: skip

    entries = CartAbandonment().entries(shop, Window(NOW - timedelta(days=2), NOW))

    assert {(entry.facts["cart"], entry.customer_id) for entry in entries} == {("1", "ann"), ("2", "ann"), ("3", "ben")}


def test_a_login_claims_thirty_days_of_the_device_and_no_more(shop):
    device = {"customer_id": None, "anonymous_id": "phone"}
    shop.fill(
        product_events=[
            change("added", 31 * 1440, cart_id="1", **device), change("added", 29 * 1440, cart_id="2", **device)
        ],
        orders=[order(1)],
        identities=[{"alias": "phone", "customer_id": "cem", "kind": "anonymous", "valid_from": ago(5)}],
    )  # fmt: skip

    entries = CartAbandonment().entries(shop, Window(NOW - timedelta(days=60), NOW))

    assert [entry.facts["cart"] for entry in entries] == ["2"]


LATER = {
    "bought": ({"orders": [order(30)]}, "purchased"),
    "emptied": ({"product_events": [change("cart_cleared", 30, None)]}, "cart_empty"),
    "in use again": ({"product_events": [change("added", 30, "jug")]}, "cart_changed"),
    "left again with more in it": ({"product_events": [change("added", 85, "jug")]}, None),
    "what we would show is gone": (
        {"product_events": [change("added", 85, "jug"), change("removed", 84)]}, "cart_changed"),
    "sold out": ({"stock": [{"sku": "cup", "quantity": 0, "observed_at": ago(30)}]}, "out_of_stock"),
    "in stock": ({"stock": [{"sku": "cup", "quantity": 3, "observed_at": ago(30)}]}, None),
    "later than we look": ({"orders": [order(-1)]}, None),
    "taken off the shop": ({"products": [{"sku": "cup", "active": False}]}, "unknown_product"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(LATER))
def test_before_sending_the_cart_is_looked_at_again(shop, case):
    rows, reason = LATER[case]
    entries = abandoned(shop, change("added", 100))

    # What is appended to a log replaces what stands in a catalogue.
    shop.fill(**{**shop.held, **{n: (shop.held.get(n, []) if n != "products" else []) + r for n, r in rows.items()}})
    found = CartAbandonment().untrue(shop, entries, NOW)

    assert found == ({entries[0].key: reason} if reason else {})
