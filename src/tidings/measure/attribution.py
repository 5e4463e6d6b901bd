"""Which message an order is credited to: the last touch before it, once, whatever channel or campaign it was.

The touches of all campaigns compete for an order in one set (measurement 4.2), so campaigns never sum to more than
revenue. An order's whole amount goes to one message; what cancellations and refunds undo is taken back from that
same message, never more than the order was worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.ledger.results import Credit, Touch

CLICKED = "clicked"
DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class TouchWindow:
    """How long before an order a click, or a delivery without a click, may lie; None: it never counts.

    Half-open: exactly so long ago still counts, the moment of the order itself does not.
    """

    click: timedelta | None
    delivered: timedelta | None = None


# By campaign and channel ('email', 'sms'). A campaign or channel that is not in it earns nothing.
Windows = Mapping[str, Mapping[str, TouchWindow]]


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """One order: ``gross`` as placed and ``net`` of what was undone since, in minor units of ``currency``.

    ``people`` are all ids it may belong to: the customer's, its aliases, and whoever shares the address it was
    placed under.
    """

    order_id: str
    people: tuple[str, ...]
    ordered_at: datetime
    currency: str
    gross: int
    net: int


def net_amount(gross: int, refunded: int, *, undone: bool = False) -> int:
    """Return what is left of an order: nothing when it was cancelled, never less than nothing."""
    return 0 if undone or gross <= 0 else min(gross, max(0, gross - refunded))


def credits(orders: Iterable[OrderFacts], touches: Iterable[Touch], windows: Windows) -> Iterator[Credit]:
    """Yield the credit of every order that some touch preceded, in the order of ``orders``.

    ``orders`` are streamed; ``touches`` (only messages that were sent, never held-out ones) are kept by person, so
    a caller with more of them than fit asks for one part of the people after the other. The answer depends on
    neither's order: between touches of the same moment a click beats a delivery, then the smaller message id wins.
    """
    by_person: dict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        if touch.clicked_at is not None or touch.delivered_at is not None:
            by_person[touch.customer_id].append(touch)
    for order in orders:
        if order.gross > 0:
            credit = _credit(order, by_person, windows)
            if credit is not None:
                yield credit


def _credit(order: OrderFacts, by_person: Mapping[str, list[Touch]], windows: Windows) -> Credit | None:
    best: tuple[datetime, bool] | None = None
    winner: Touch | None = None
    for person in dict.fromkeys(order.people):
        for touch in by_person.get(person, ()):
            found = counted(touch, order.ordered_at, windows)
            if found is None:
                continue
            if (
                best is None
                or winner is None
                or found > best
                or (found == best and touch.message_id < winner.message_id)
            ):
                best, winner = found, touch
    if best is None or winner is None:
        return None
    net = min(max(order.net, 0), order.gross)
    return Credit(
        order_id=order.order_id,
        message_id=winner.message_id,
        campaign=winner.campaign,
        currency=order.currency,
        gross=order.gross,
        net=net,
        ordered_at=order.ordered_at,
        touch_at=best[0],
        touch_kind=CLICKED if best[1] else DELIVERED,
    )


def counted(touch: Touch, ordered_at: datetime, windows: Windows) -> tuple[datetime, bool] | None:
    """Return when a message touched an order and whether by a click, or None when it did not.

    A message touches once: by its first human click where that lies in the window, else by its delivery.
    """
    window = windows.get(touch.campaign, {}).get(touch.channel)
    if window is None:
        return None
    if _within(touch.clicked_at, window.click, ordered_at):
        assert touch.clicked_at is not None
        return touch.clicked_at, True
    if _within(touch.delivered_at, window.delivered, ordered_at):
        assert touch.delivered_at is not None
        return touch.delivered_at, False
    return None


def _within(at: datetime | None, window: timedelta | None, ordered_at: datetime) -> bool:
    return at is not None and window is not None and ordered_at - window <= at < ordered_at
