"""When a customer has lapsed: every condition of the win-back trigger by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidings.detect.win_back import WinBack
from tidings.model.entry import Entry, Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def order(days: float, number: str = "", **more: Any) -> dict[str, Any]:
    return {"order_id": f"o{days}{number}", "customer_id": "ann", "ordered_at": NOW - timedelta(days=days),
            "status": "completed", "total": 4000, **more}  # fmt: skip


def lapsed(shop: Any, *orders: dict[str, Any], refunds: Any = (), days: float = 400, **detect: Any) -> list[Entry]:
    shop.fill(orders=orders, **({"refunds": refunds} if refunds else {}))
    return list(WinBack(**detect).entries(shop, Window(NOW - timedelta(days=days), NOW)))


CASES = {
    "exactly ninety days": ([order(90)], {}, True),
    "a minute less": ([order(90 - 1 / 1440)], {}, False),
    "just inside the entry window": ([order(97 - 1 / 1440)], {}, True),
    "the entry window is over": ([order(97)], {}, False),
    "no entry window": ([order(300)], {"entry_window": None}, True),
    "ordered since": ([order(92), order(10)], {}, False),
    "the order since was cancelled": ([order(92), order(10, status="cancelled")], {}, True),
    "the order since was refunded": ([order(92), order(10, status="refunded")], {}, True),
    "an order is still open": ([order(92), order(93, status="placed")], {}, False),
    "a shop that completes no order": ([order(92, status="placed")], {}, True),
    "too few orders": ([order(92)], {"minimum_orders": 2}, False),
    "as many orders as asked for": ([order(92), order(192)], {"minimum_orders": 2}, True),
    "one order told twice is one": ([order(92), order(92)], {"minimum_orders": 2}, False),
    "only a cancelled one": ([order(92, status="cancelled")], {}, False),
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_customer_has_lapsed(shop, case):
    orders, detect, expected = CASES[case]

    assert bool(lapsed(shop, *orders, **detect)) is expected


@pytest.mark.parametrize(("amounts", "found"), [((1000, 3000), True), ((1000, 2999), False)], ids=["whole", "in part"])
def test_an_order_paid_back_whole_does_not_count(shop, amounts, found):
    refunds = [{"order_id": "o10", "amount": amount, "refunded_at": NOW - timedelta(days=2)} for amount in amounts]

    assert bool(lapsed(shop, order(92), order(10), refunds=refunds)) is found


def test_the_key_is_the_customer_and_the_last_order_the_lowest_of_two_at_one_instant(shop):
    entries = lapsed(shop, order(92, "b"), order(92, "a"), order(192))

    assert [(entry.key, entry.facts) for entry in entries] == [
        ("ann|o92a|20251130T120000.000000Z", {"order": "o92a", "orders": "3"})
    ]


WEEKLY = [order(36 + 7 * n) for n in range(5)]
EVERY_50 = [order(105 + 50 * n) for n in range(4)]
CADENCES = {
    "weekly, clipped to thirty days": (WEEKLY, "mean", NOW - timedelta(days=6)),
    "every fifty days, twice that": (EVERY_50, "mean", NOW - timedelta(days=5)),
    "too few for a rhythm: the lapse": (EVERY_50[:3], "mean", NOW - timedelta(days=15)),
    "quantile weighed with the lapse": (
        EVERY_50, "quantile", NOW - timedelta(days=105) + (4 * timedelta(days=50) + 5 * timedelta(days=90)) / 9),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CADENCES))
def test_a_customer_is_due_by_their_own_rhythm(shop, case):
    orders, cadence, due = CADENCES[case]

    entries = lapsed(shop, *orders, cadence=cadence, entry_window=None)

    assert [entry.entered_at for entry in entries] == [due]
