"""Cart abandonment: somebody filled a cart, fell silent, and has not ordered since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import CTE, ColumnElement, Row, Select, and_, func, null, or_, select
from sqlalchemy.types import DateTime

from tidings.detect.base import Trigger
from tidings.detect.carts import Cart, folded
from tidings.detect.clock import before, stamp
from tidings.detect.events import CART_CHANGES, Seen, counted, events, grouped, silent_since
from tidings.detect.goods import sellable, with_goods
from tidings.detect.identity import Identities, identities, without_internal
from tidings.detect.lookups import in_chunks
from tidings.detect.purchases import is_live, last_orders, live_orders
from tidings.fields import Amounts, Duration, PositiveDuration
from tidings.model.entry import Entry, Item, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables


class CartAbandonment(Trigger):
    """The customer changed a cart, then left it alone, with something in it that can still be bought."""

    type_name: ClassVar[str] = "cart_abandonment"
    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("customer_id", "kind", "sku", "occurred_at"),
        "orders": ("order_id", "customer_id", "ordered_at"),
    }
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("event_id", "cart_id", "quantity", "price", "currency", "source", "received_at"),
        "orders": ("email", "status", "cart_id"),
        "products": ("sku", "active"),
        "stock": ("sku", "quantity", "observed_at"),
        "identities": ("alias", "customer_id", "kind", "valid_from", "valid_to"),
        "customers": ("email", "is_internal"),
    }

    type: Literal["cart_abandonment"] = "cart_abandonment"
    idle: PositiveDuration = Field(
        timedelta(hours=1), description="How long the cart must have been left alone; exactly this long counts."
    )
    minimum_value: Amounts = Field(
        default_factory=dict, description="The least a cart must be worth, per currency; none: any value will do."
    )
    order_grace: Duration = Field(
        timedelta(minutes=10),
        description="An order closes the cart even when it stands this much before the last change (late events).",
    )
    cart_life: PositiveDuration = Field(
        timedelta(days=30), description="Changes this much older than the last no longer tell what the cart holds."
    )
    max_age: PositiveDuration | None = Field(
        None,
        description="Leave carts alone that were last changed longer ago than this. "
        "None: however late, and what is too late to send is recorded as expired.",
    )

    def needed(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield what must be there: a cart is worth something only where its events tell prices."""
        yield from super().needed()
        if self.minimum_value:
            yield "minimum_value", "product_events", ("price", "currency")

    @property
    def wait(self) -> timedelta:
        """Return the silence after which an abandoned cart is due."""
        return self.idle

    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return the changes of every cart that may be abandoned, cart by cart, with what closes it."""
        since, last = self._slice(window)
        people = identities(tables, window.end)
        silent = silent_since(
            tables, people, (since, last), window.end, kinds=CART_CHANGES, per_cart=True
        ).cte("silent_carts")  # fmt: skip
        return self._changes(tables, people, silent, since, window.end)

    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield one entry per abandoned cart."""
        since, last = self._slice(window)
        for (customer, cart), rows in grouped(shop.stream(self.found(shop.tables, window)), "customer_id", "cart"):
            left = self._cart(rows, window.end)
            if left.changed_at is None or not since < left.changed_at <= last or self._ordered(rows, left.changed_at):
                continue
            entry = self._entry(customer, cart, left)
            if entry is not None:
                yield entry

    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return why a cart is no longer an abandoned one: bought, emptied, changed, sold out."""
        found: dict[str, SkipReason] = {}
        for chunk in in_chunks(entries):
            customers = sorted({entry.customer_id for entry in chunk})
            query = self._changes(
                shop.tables, identities(shop.tables, as_of), customers, min(e.anchor_at for e in chunk), as_of
            )
            carts = dict(grouped(shop.stream(query), "customer_id", "cart"))
            for entry in chunk:
                rows = carts.get((entry.customer_id, entry.facts.get("cart", "")), [])
                reason = self._reason(entry, rows, as_of)
                if reason is not None:
                    found[entry.key] = reason
        return found

    def _slice(self, window: Window) -> tuple[datetime, datetime]:
        since = before(window.start, self.idle)
        if self.max_age is not None:
            since = max(since, before(window.end, self.max_age))
        return since, before(window.end, self.idle)

    def _changes(
        self, tables: Tables, people: Identities, whose: CTE | list[str], since: datetime, until: datetime
    ) -> Select[Any]:
        """Return the changes of these carts (or of all carts of these customers), with the last orders about them."""
        horizon = before(since, self.cart_life)
        every = events(tables, people, horizon, until, kinds=CART_CHANGES).subquery("every_change")
        if isinstance(whose, CTE):
            same = and_(whose.c.customer_id == every.c.customer_id, whose.c.cart == every.c.cart)
            chosen = select(*every.c, whose.c.latest).join_from(every, whose, same)
        else:
            chosen = select(*every.c).where(every.c.customer_id.in_(whose))
        changes = chosen.cte("changes")
        orders = last_orders(live_orders(tables, people, horizon, until, of=None if isinstance(whose, CTE) else whose))
        rows: Any = changes.outerjoin(orders, orders.c.customer_id == changes.c.customer_id)
        cart_order: ColumnElement[Any] = null().cast(DateTime(timezone=True))
        if tables.has("orders", "cart_id") and tables.has("product_events", "cart_id"):
            closed = _cart_orders(tables, horizon, until)
            rows = rows.outerjoin(closed, closed.c.cart_id == changes.c.cart)
            cart_order = closed.c.ordered_at
        rows, goods = with_goods(tables, rows, changes.c.sku, select(changes.c.sku), until)
        query = select(
            *(column for column in changes.c if column.name != "latest"), orders.c.last_order.label("last_order"),
            cart_order.label("cart_order"), *goods.columns(),
        ).select_from(rows)  # fmt: skip
        if isinstance(whose, CTE):
            query = query.where(or_(orders.c.last_order.is_(None), orders.c.last_order < changes.c.latest))
        return without_internal(tables, people, query, changes.c.customer_id).order_by(
            changes.c.customer_id, changes.c.cart
        )

    def _cart(self, rows: list[Row[Any]], until: datetime) -> Cart:
        changes = counted(rows, until)
        if changes and changes[0].at <= (oldest := before(changes[-1].at, self.cart_life)):
            changes = [change for change in changes if change.at > oldest]
        return folded(changes, _last_order(rows))

    def _ordered(self, rows: list[Row[Any]], changed_at: datetime) -> bool:
        ordered_at = _last_order(rows)
        return ordered_at is not None and ordered_at >= before(changed_at, self.order_grace)

    def _entry(self, customer: str, cart: str, left: Cart) -> Entry | None:
        lines = [line for line in left.lines() if sellable(line[2].row)]
        if not left.certain or not lines or left.changed_at is None:
            return None
        currency = lines[-1][2].currency
        value = _value(lines, currency)
        least = self.minimum_value.get(currency) if currency is not None else None
        if least is not None and (value is None or value < least):
            return None
        items = tuple(
            Item(sku, seen.row.parent or seen.product_id, quantity, seen.price, seen.currency, seen.at)
            for sku, quantity, seen in reversed(lines)
        )
        return Entry(
            key=f"{cart or customer}|{stamp(left.changed_at)}", customer_id=customer, anchor_at=left.changed_at,
            entered_at=left.changed_at + self.idle, items=items, value=value, currency=currency,
            market=lines[-1][2].market, facts={"cart": cart} if cart else {},
        )  # fmt: skip

    def _reason(self, entry: Entry, rows: list[Row[Any]], as_of: datetime) -> SkipReason | None:
        if self.minimum_value and entry.currency not in self.minimum_value:
            return SkipReason.NO_CURRENCY
        if not rows:
            return SkipReason.CART_EMPTY
        if self._ordered(rows, entry.anchor_at):
            return SkipReason.PURCHASED
        left = self._cart(rows, as_of)
        lines = left.lines()
        if not lines:
            return SkipReason.CART_EMPTY
        # A cart that grew and was left again is still theirs; one in use, or without what we would show, is not.
        in_use = left.changed_at is not None and max(entry.anchor_at, before(as_of, self.idle)) < left.changed_at
        wanted = {item.sku for item in entry.items}
        if in_use or not wanted <= {sku for sku, _, _ in lines}:
            return SkipReason.CART_CHANGED
        shown = [seen.row for sku, _, seen in lines if sku in wanted]
        if any(map(sellable, shown)):
            return None
        return SkipReason.OUT_OF_STOCK if any(row.active for row in shown) else SkipReason.UNKNOWN_PRODUCT


def _value(lines: list[tuple[str, int, Seen]], currency: str | None) -> int | None:
    """Return what the lines in this currency are worth; None when no price of them is known."""
    same = [(quantity, seen) for _, quantity, seen in lines if seen.currency == currency]
    known = [seen.price * quantity for quantity, seen in same if seen.price is not None]
    return sum(known) if known else None


def _last_order(rows: list[Row[Any]]) -> datetime | None:
    if not rows:
        return None
    last: datetime | None = rows[0].last_order
    of_cart: datetime | None = rows[0].cart_order
    if last is None or of_cart is None:
        return last or of_cart
    return max(last, of_cart)


def _cart_orders(tables: Tables, since: datetime, until: datetime) -> CTE:
    orders = tables["orders"]
    return (
        select(orders.c.cart_id, func.max(orders.c.ordered_at).label("ordered_at"))
        .where(orders.c.cart_id.is_not(None), orders.c.ordered_at > since, orders.c.ordered_at <= until)
        .where(*is_live(tables, orders))
        .group_by(orders.c.cart_id)
        .cte("cart_orders")
    )
