"""What holds for every trigger type, in DuckDB and in PostgreSQL alike."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidings.detect.walk import trigger_types
from tidings.model.entry import Entry, Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TYPES = trigger_types()
Rows = dict[str, list[dict[str, Any]]]


def ago(minutes: float = 0, *, days: float = 0) -> datetime:
    return NOW - timedelta(minutes=minutes, days=days)


def event(kind: str, customer: str, at: datetime, sku: str = "cup-s", **more: Any) -> dict[str, Any]:
    told = {"event_id": f"{kind}-{customer}-{sku}-{at:%d%H%M%S}", "price": 4000, "currency": "EUR", "quantity": 1}
    return {"kind": kind, "customer_id": customer, "occurred_at": at, "sku": sku, "product_id": "cup", **told, **more}


def order(customer: str, at: datetime, number: str = "") -> dict[str, Any]:
    return {"order_id": f"o-{customer}-{number or at.isoformat()}", "customer_id": customer, "ordered_at": at,
            "email": None, "status": "completed", "total": 4000, "currency": "EUR"}  # fmt: skip


def line(order: dict[str, Any], sku: str = "cup-s") -> dict[str, Any]:
    return {"order_id": order["order_id"], "sku": sku, "quantity": 1, "amount": 4000}


def price(amount: int, since: datetime, until: datetime | None = None, **more: Any) -> dict[str, Any]:
    return {"sku": "cup-s", "currency": "EUR", "amount": amount, "valid_from": since, "valid_to": until, **more}


def count(quantity: int, at: datetime, sku: str = "cup-s") -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "observed_at": at, "location": "main"}


def request(customer: str, at: datetime, **more: Any) -> dict[str, Any]:
    return {"request_id": f"r-{customer}", "customer_id": customer, "sku": "cup-s", "requested_at": at, **more}


@dataclass(frozen=True)
class Story:
    """Ann and Ben qualify, with a silence of exactly the stated length and a longer one; Cem has bought since."""

    detect: dict[str, Any]
    rows: Rows
    wait: timedelta


def _orders(*given: dict[str, Any]) -> Rows:
    return {"orders": list(given), "order_items": [line(each) for each in given]}


PRODUCTS = [
    {"sku": "cup-s", "product_id": "cup", "active": True}, {"sku": "cup-m", "product_id": "cup", "active": True},
]  # fmt: skip
HOUR, TEN = timedelta(hours=1), timedelta(minutes=10)
CEM = order("cem", ago(20))
STORIES: dict[str, Story] = {
    "browse_abandonment": Story(
        {}, {"product_events": [
            event("viewed", "ann", ago(63)), event("viewed", "ann", ago(60), "cup-m"),
            event("viewed", "ben", ago(120)), event("viewed", "ben", ago(70)),
            event("viewed", "cem", ago(120)), event("viewed", "cem", ago(70)),
        ], "products": PRODUCTS, **_orders(CEM)}, HOUR,
    ),
    "cart_abandonment": Story(
        {"minimum_value": {"EUR": 30}}, {"product_events": [
            event("added", "ann", ago(60)),
            event("added", "ben", ago(90)), event("removed", "ben", ago(80)), event("added", "ben", ago(75), "cup-m"),
            event("added", "cem", ago(75)),
        ], "products": PRODUCTS, **_orders(CEM)}, HOUR,
    ),
    "price_drop": Story(
        {}, {"product_events": [
            event("viewed", "ann", ago(days=3)), event("added", "ben", ago(days=2)), event("viewed", "cem", ago(days=3))
        ], "prices": [price(4000, ago(days=90), ago(60)), price(3000, ago(60))], "products": PRODUCTS, **_orders(CEM)},
        HOUR,
    ),
    "back_in_stock": Story(
        {}, {
            "stock": [count(5, ago(days=9)), count(0, ago(days=2)), count(7, ago(10))],
            "stock_requests": [request("ann", ago(days=1)), request("cem", ago(days=1))],
            "product_events": [event("viewed", "ben", ago(days=1))], "products": PRODUCTS, **_orders(CEM),
        }, TEN,
    ),
    "win_back": Story(
        {}, _orders(
            order("ann", ago(days=90)), order("ann", ago(days=200)), order("ben", ago(days=92)),
            order("cem", ago(days=92)), CEM,
        ), timedelta(days=90),
    ),
}  # fmt: skip
every_type = pytest.mark.parametrize("name", sorted(TYPES))


def wide(end: datetime = NOW) -> Window:
    return Window(end - timedelta(days=7), end)


def found(shop: Any, name: str, window: Window | None = None) -> list[Entry]:
    trigger = TYPES[name](type=name, **STORIES[name].detect)
    return sorted(trigger.entries(shop, window or wide()), key=lambda entry: entry.key)


def keys(entries: list[Entry]) -> list[str]:
    return [entry.key for entry in entries]


def test_every_trigger_type_stands_in_this_suite():
    assert set(STORIES) == set(TYPES)
    assert set(TYPES) == {"browse_abandonment", "cart_abandonment", "price_drop", "back_in_stock", "win_back"}


@every_type
def test_those_who_qualify_are_found_and_a_buyer_is_not(shop, name):
    shop.fill(**STORIES[name].rows)

    entries = found(shop, name)

    assert sorted(entry.customer_id for entry in entries) == ["ann", "ben"]
    assert len(set(keys(entries))) == 2


@every_type
def test_both_warehouses_find_equal_entries(duckdb_shop, postgres_shop, name):
    both = [found(each.fill(**STORIES[name].rows), name) for each in (duckdb_shop, postgres_shop)]

    assert both[0] == both[1]


@every_type
def test_a_silence_of_exactly_the_stated_length_counts_and_one_second_less_does_not(shop, name):
    shop.fill(**STORIES[name].rows)

    at_the_second = {entry.customer_id for entry in found(shop, name)}
    before = {entry.customer_id for entry in found(shop, name, wide(NOW - timedelta(seconds=1)))}

    assert "ann" in at_the_second
    assert "ann" not in before


@every_type
def test_an_entry_is_due_its_wait_after_its_anchor(shop, name):
    shop.fill(**STORIES[name].rows)

    for entry in found(shop, name):
        assert entry.entered_at == entry.anchor_at + STORIES[name].wait
        assert wide().start < entry.entered_at <= NOW
        assert entry.entered_at.utcoffset() == timedelta(0)


@every_type
def test_found_twice_has_the_same_keys(shop, name):
    shop.fill(**STORIES[name].rows)

    assert found(shop, name) == found(shop, name)


@every_type
def test_windows_that_overlap_find_the_same_keys(shop, name):
    shop.fill(**STORIES[name].rows)
    whole = set(keys(found(shop, name)))

    pieces = set()
    for hours in range(0, 7 * 24, 12):
        start = NOW - timedelta(days=7) + timedelta(hours=hours)
        pieces |= set(keys(found(shop, name, Window(start - timedelta(hours=1), NOW))))

    assert pieces == whole


@every_type
def test_a_window_takes_only_what_falls_due_in_it(shop, name):
    shop.fill(**STORIES[name].rows)

    at_the_end = found(shop, name, Window(NOW - timedelta(seconds=1), NOW))
    after = found(shop, name, Window(NOW, NOW + timedelta(minutes=1)))

    assert "ann" in {entry.customer_id for entry in at_the_end}
    assert "ann" not in {entry.customer_id for entry in after}


@every_type
def test_the_order_of_rows_changes_nothing(shop, name):
    expected = found(shop.fill(**STORIES[name].rows), name)

    for seed in range(3):
        rows = {table: random.Random(seed).sample(given, len(given)) for table, given in STORIES[name].rows.items()}
        assert found(shop.fill(**rows), name) == expected


@every_type
def test_rows_told_twice_change_nothing(shop, name):
    expected = found(shop.fill(**STORIES[name].rows), name)

    shop.fill(**{table: given * 2 for table, given in STORIES[name].rows.items()})

    assert found(shop, name) == expected


@every_type
def test_nothing_later_than_the_window_is_looked_at(shop, name):
    expected = found(shop.fill(**STORIES[name].rows), name)
    later = NOW + timedelta(seconds=1)

    bought = order("ann", later)
    shop.add(
        product_events=[event(kind, who, later) for kind in ("viewed", "cart_cleared") for who in ("ann", "ben")],
        orders=[bought], order_items=[line(bought)],
        **({"prices": [price(9000, later)]} if name == "price_drop" else {}),
        **({"stock": [count(0, later)]} if name == "back_in_stock" else {}),
    )  # fmt: skip

    assert found(shop, name) == expected


@every_type
def test_a_merged_account_is_one_person_and_its_orders_count(shop, name):
    shop.fill(**STORIES[name].rows)
    bought = order("old-ann", ago(5))

    shop.add(
        orders=[bought], order_items=[line(bought)],
        identities=[{"alias": "old-ann", "customer_id": "ann", "kind": "former", "valid_from": ago(days=1)}],
    )  # fmt: skip

    assert [entry.customer_id for entry in found(shop, name)] == ["ben"]


@every_type
def test_a_guest_order_with_the_same_address_counts(shop, name):
    shop.fill(**STORIES[name].rows)
    bought = {**order("ann", ago(5)), "customer_id": None, "email": "Ann@Example.com "}

    shop.add(
        orders=[bought], order_items=[line(bought)],
        customers=[{"customer_id": "ann", "email": "ann@example.com"}],
    )  # fmt: skip

    assert [entry.customer_id for entry in found(shop, name)] == ["ben"]


@every_type
@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_an_order_that_came_to_nothing_does_not_count(shop, name, status):
    expected = keys(found(shop.fill(**STORIES[name].rows), name))
    bought = {**order("ann", ago(5)), "status": status}

    shop.add(orders=[bought], order_items=[line(bought)])

    assert keys(found(shop, name)) == expected


@every_type
def test_the_shops_own_people_are_left_out(shop, name):
    shop.fill(**STORIES[name].rows)

    shop.add(customers=[{"customer_id": "ann", "is_internal": True}, {"customer_id": "ben", "is_internal": False}])

    assert [entry.customer_id for entry in found(shop, name)] == ["ben"]


@every_type
def test_true_entries_are_not_called_untrue_and_a_purchase_is_noticed(shop, name):
    shop.fill(**STORIES[name].rows)
    trigger = TYPES[name](type=name, **STORIES[name].detect)
    entries = found(shop, name)
    later = NOW + timedelta(hours=2)

    still = trigger.untrue(shop, entries, later)
    bought = order("ann", NOW + timedelta(minutes=1))
    shop.add(orders=[bought], order_items=[line(bought)])
    after = trigger.untrue(shop, entries, later)
    on_time = trigger.untrue(shop, entries, NOW)

    assert still == {}
    assert after == {entry.key: "purchased" for entry in entries if entry.customer_id == "ann"}
    assert on_time == {}


@every_type
@pytest.mark.parametrize(
    ("buyer", "email"),
    [("old-ann", None), (None, " ANN@example.com"), (None, "ann@before.example")],
    ids=["under a former id", "as a guest", "as a guest, at the former id's address"],
)
def test_a_re_check_notices_whatever_name_the_person_bought_under(shop, name, buyer, email):
    shop.fill(**STORIES[name].rows)
    trigger = TYPES[name](type=name, **STORIES[name].detect)
    entries = found(shop, name)
    theirs = {**order("ann", NOW + timedelta(minutes=1)), "customer_id": buyer, "email": email}
    anothers = {**order("cem", NOW + timedelta(minutes=1)), "customer_id": None, "email": "cem@example.com"}

    shop.add(
        orders=[theirs, anothers], order_items=[line(theirs), line(anothers)],
        customers=[
            {"customer_id": "ann", "email": "ann@example.com"},
            {"customer_id": "old-ann", "email": "Ann@before.example"},
            {"customer_id": "ben", "email": "ben@example.com"}, {"customer_id": "cem", "email": "cem@example.com"},
        ],
        identities=[{"alias": "old-ann", "customer_id": "ann", "kind": "former", "valid_from": ago(days=1)}],
    )  # fmt: skip

    after = trigger.untrue(shop, entries, NOW + timedelta(hours=2))
    assert after == {entry.key: "purchased" for entry in entries if entry.customer_id == "ann"}


@every_type
def test_the_number_of_questions_does_not_grow_with_the_entries(shop, name):
    shop.fill(**STORIES[name].rows)
    trigger = TYPES[name](type=name, **STORIES[name].detect)
    entries = found(shop, name)

    asked = []
    for many in (entries[:1], entries * 200):
        shop.asked = 0
        trigger.untrue(shop, many, NOW)
        asked.append(shop.asked)

    assert asked[0] == asked[1] <= 5
    assert trigger.untrue(shop, [], NOW) == {}


@every_type
def test_detection_is_one_select(shop, name):
    shop.fill(**STORIES[name].rows)
    shop.asked = 0

    found(shop, name)

    assert shop.asked == 1


@every_type
def test_a_shop_with_the_least_that_is_required_works(shop, name):
    needed = TYPES[name].requires
    rows = {
        table: [{key: row[key] for key in columns} for row in STORIES[name].rows[table]]
        for table, columns in needed.items()
    }
    shop.fill(**rows)

    assert found(shop, name) is not None


@every_type
def test_every_parameter_has_a_default_and_says_what_it_means(name):
    schema = TYPES[name].model_json_schema()["properties"]

    assert [key for key, told in schema.items() if key != "type" and not told.get("description")] == []
    assert TYPES[name](type=name).wait > timedelta(0)
