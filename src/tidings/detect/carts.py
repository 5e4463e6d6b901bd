"""A cart as its changes leave it: what lies in it, since when, and whether that is certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidings.detect.events import CART_CHANGES, Seen


@dataclass(slots=True)
class Cart:
    """The lines left in a cart (sku → quantity and the last event that told its price), and its last change.

    ``certain`` is False when something was taken out that was never seen to be put in: then the shop knows
    more than its events say, and nobody is written to about it.
    """

    changed_at: datetime | None = None
    certain: bool = True
    quantities: dict[str, int] = field(default_factory=dict)
    told: dict[str, Seen] = field(default_factory=dict)

    def lines(self) -> list[tuple[str, int, Seen]]:
        """Return what is in the cart, the latest change last."""
        inside = [(sku, quantity, self.told[sku]) for sku, quantity in self.quantities.items() if quantity > 0]
        return sorted(inside, key=lambda line: (line[2].at, line[0]))


def folded(changes: Sequence[Seen], ordered_at: datetime | None = None) -> Cart:
    """Return the cart after its changes, which come in order; an order empties it and keeps what is put in later."""
    cart = Cart()
    met: set[str] = set()
    for change in changes:
        if change.kind not in CART_CHANGES:
            continue
        if ordered_at is not None and cart.changed_at is not None and cart.changed_at <= ordered_at < change.at:
            cart.quantities.clear()
            cart.certain = True
        cart.changed_at = change.at
        if change.kind == "cart_cleared":
            cart.quantities.clear()
            cart.certain = True
        elif change.sku is not None:
            _change(cart, change, change.sku, met)
    if ordered_at is not None and cart.changed_at is not None and cart.changed_at <= ordered_at:
        cart.quantities.clear()
    return cart


def _change(cart: Cart, change: Seen, sku: str, met: set[str]) -> None:
    inside = cart.quantities.get(sku, 0)
    if change.kind == "removed":
        cart.certain = cart.certain and sku in met
        # A removal without a number takes the whole line; a cart never holds less than nothing.
        cart.quantities[sku] = max(0, inside - change.quantity) if change.quantity is not None else 0
        return
    quantity = 1 if change.quantity is None and change.kind == "added" else change.quantity
    met.add(sku)
    if quantity is None or quantity < 0 or change.free:
        return
    cart.quantities[sku] = inside + quantity if change.kind == "added" else quantity
    cart.told[sku] = change
