"""A person is one person under every id they ever had, and a guest order under their address is theirs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tidings.model.people import Channel, Consent
from tidings.warehouse import people

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return datetime(2024, 3, day, tzinfo=UTC)


SHOP = [
    """CREATE TABLE customers (customer_id varchar, email varchar, first_name varchar, zone varchar,
       is_internal boolean)""",
    """INSERT INTO customers VALUES ('ann', 'Ann@Example.com ', 'Ann', 'Europe/Berlin', false),
       ('bob', 'bob@example.com', 'Bob', NULL, true), ('cat', 'ann@example.com', 'Cat', NULL, NULL)""",
    "CREATE TABLE identities (alias varchar, customer_id varchar, kind varchar, valid_from timestamptz)",
    """INSERT INTO identities VALUES ('ann1', 'ann0', 'former', '2024-01-01 00:00:00+00'),
       ('ann0', 'ann', 'former', '2024-02-01 00:00:00+00'),
       ('bob1', 'ann', 'former', '2024-01-01 00:00:00+00'), ('bob1', 'bob', 'former', '2024-02-01 00:00:00+00'),
       ('phone', 'ann', 'anonymous', '2024-01-01 00:00:00+00'), ('bob', 'bob', 'former', '2024-01-01 00:00:00+00')""",
    """CREATE TABLE consents (customer_id varchar, channel varchar, purpose varchar, status varchar,
       occurred_at timestamptz)""",
    """INSERT INTO consents VALUES ('ann', 'email', 'marketing', 'withdrawn', '2024-03-02 00:00:00+00'),
       ('ann1', 'email', 'marketing', 'granted', '2024-03-01 00:00:00+00'),
       ('ann', 'fax', 'marketing', 'granted', '2024-03-01 00:00:00+00'),
       ('bob', 'sms', 'marketing', 'granted', '2024-03-01 00:00:00+00')""",
    """CREATE TABLE orders (order_id varchar, customer_id varchar, email varchar, status varchar, total bigint,
       currency varchar, cart_id varchar, ordered_at timestamptz)""",
    """INSERT INTO orders VALUES ('o1', 'ann1', NULL, 'placed', 100, 'EUR', 'c1', '2024-03-05 00:00:00+00'),
       ('o2', NULL, ' ANN@example.com', NULL, 200, 'EUR', NULL, '2024-03-06 00:00:00+00'),
       ('o3', 'ann', NULL, 'cancelled', 300, 'EUR', NULL, '2024-03-07 00:00:00+00'),
       ('o4', 'ann', NULL, 'placed', 400, 'EUR', NULL, '2024-02-07 00:00:00+00'),
       ('o5', 'bob1', NULL, 'refunded', 500, 'EUR', NULL, '2024-03-07 00:00:00+00'),
       ('o6', 'phone', NULL, 'placed', 600, 'EUR', NULL, '2024-03-07 00:00:00+00'),
       ('o7', NULL, '', 'placed', 700, 'EUR', NULL, '2024-03-07 00:00:00+00')""",
]
TABLES = "{customers: {}, identities: {}, consents: {}, orders: {}}"


@pytest.fixture
def warehouse(shop):
    return shop(SHOP, TABLES)


def test_a_former_id_answers_with_the_person_it_was_merged_into(warehouse):
    found = people.customers(warehouse, ["ann1", "bob", "nobody"])

    assert set(found) == {"ann1", "ann", "bob"}
    assert found["ann1"] is found["ann"]
    assert (found["ann"].id, found["ann"].first_name, found["ann"].zone) == ("ann", "Ann", "Europe/Berlin")
    assert found["ann"].attributes == {"is_internal": "false"}
    assert found["bob"].attributes == {"is_internal": "true"}


def test_a_person_has_every_id_that_was_merged_into_them_but_no_device(warehouse):
    found = people.customers(warehouse, ["ann", "bob"])

    assert found["ann"].aliases == ("ann0", "ann1")
    assert found["bob"].aliases == ("bob1",)


def test_consents_count_under_every_id_in_the_order_they_were_said(warehouse):
    assert people.consents(warehouse, ["ann"]) == [
        Consent("ann", Channel.EMAIL, "marketing", True, at(1)),
        Consent("ann", Channel.EMAIL, "marketing", False, at(2)),
    ]


def test_orders_count_under_every_id_and_address_unless_cancelled(warehouse):
    found = people.orders_since(warehouse, ["ann1", "bob"], at(1))

    assert [(one.order_id, one.customer_id, one.total) for one in found] == [
        ("o1", "ann", 100), ("o2", "ann", 200), ("o5", "bob", 500),
    ]  # fmt: skip


def test_a_guest_order_under_a_shared_address_belongs_to_everybody_who_has_it(warehouse):
    found = people.orders_since(warehouse, ["ann", "cat"], at(6), until=at(6))

    assert [(one.order_id, one.customer_id) for one in found] == [("o2", "ann"), ("o2", "cat")]


def test_the_moment_since_counts_and_so_does_until(warehouse):
    assert [one.order_id for one in people.orders_since(warehouse, ["ann"], at(5), until=at(5))] == ["o1"]


def test_a_shop_without_these_tables_knows_nobody(shop):
    empty = shop([], "{}")

    assert people.customers(empty, ["ann"]) == {}
    assert people.consents(empty, ["ann"]) == []
    assert people.orders_since(empty, ["ann"], START) == []


def test_ids_that_were_merged_in_a_circle_end(shop):
    circle = [
        "CREATE TABLE customers (customer_id varchar)",
        "INSERT INTO customers VALUES ('a'), ('b')",
        "CREATE TABLE identities (alias varchar, customer_id varchar, valid_from timestamptz)",
        "INSERT INTO identities VALUES ('a', 'b', '2024-01-01 00:00:00+00'), ('b', 'a', '2024-01-01 00:00:00+00')",
    ]

    found = people.customers(shop(circle, "{customers: {}, identities: {}}"), ["a", "b"])

    assert set(found) <= {"a", "b"}


def test_more_ids_than_one_statement_takes_are_asked_for_in_portions(warehouse):
    many = [f"c{n}" for n in range(25_000)] + ["ann"]

    assert set(people.customers(warehouse, many)) == {"ann"}
