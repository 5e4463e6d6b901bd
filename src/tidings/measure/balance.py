"""The checks that fail a measuring run rather than let it print money that was never earned (Rule 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tidings.ledger.results import Credit
from tidings.measure.attribution import OrderFacts


class Unbalanced(RuntimeError):
    """Credits exceed what was earned: our mistake, never a person's. The message names ids and amounts only."""


def check_orders(orders: Iterable[OrderFacts], credits: Iterable[Credit]) -> None:
    """Raise Unbalanced unless every order's credits stay within it, in its currency, behind a touch before it."""
    known = {order.order_id: order for order in orders}
    gross: Counter[str] = Counter()
    net: Counter[str] = Counter()
    for credit in credits:
        order = known.get(credit.order_id)
        if order is None:
            raise Unbalanced(f"credit: must be for an order that was read; found {credit.order_id}")
        if credit.currency != order.currency:
            raise Unbalanced(f"order {order.order_id}: credit must be in {order.currency}; found {credit.currency}")
        if credit.touch_at >= order.ordered_at:
            raise Unbalanced(f"order {order.order_id}: must be credited to a touch before it; found one after it")
        if credit.net < 0 or credit.gross < credit.net:
            raise Unbalanced(f"order {order.order_id}: credit must lie between 0 and its gross; found {credit.net}")
        gross[order.order_id] += credit.gross
        net[order.order_id] += credit.net
    for order_id, amount in net.items():
        order = known[order_id]
        if amount > order.net or gross[order_id] > order.gross:
            raise Unbalanced(f"order {order_id}: credits must not exceed its {order.net}; found {amount}")


def check_totals(credited: Mapping[str, int], earned: Mapping[str, int]) -> None:
    """Raise Unbalanced unless, per currency, all campaigns together are credited at most what the shop earned."""
    for currency, amount in sorted(credited.items()):
        if amount > earned.get(currency, 0):
            raise Unbalanced(
                f"{currency}: campaigns must not exceed the shop's {earned.get(currency, 0)}; found {amount}"
            )
