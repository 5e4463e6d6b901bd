"""Browse abandonment: somebody looked at a product more than once, left, and neither carted nor bought it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from sqlalchemy import CTE, Row, Select, case, func, or_, select

from tidings.detect.base import Trigger
from tidings.detect.carts import folded
from tidings.detect.clock import before, stamp
from tidings.detect.events import Seen, counted, events, grouped, silent_since
from tidings.detect.goods import any_sku_of, sellable, with_goods
from tidings.detect.identity import Identities, identities, without_internal
from tidings.detect.lookups import in_chunks
from tidings.detect.purchases import last_orders, live_orders
from tidings.fields import Duration, PositiveDuration
from tidings.model.entry import Entry, Item, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables

# How far back a visit is followed to its first view, and an open cart is noticed.
HISTORY = timedelta(days=14)
# Interest halves with every day (§1.4 T1).
HALF_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Look:
    """What a customer did at one product of a visit."""

    parent: str
    views: tuple[Seen, ...]

    def weight(self, at: datetime) -> float:
        """Return how much these views still say at ``at``."""
        return math.fsum(0.5 ** ((at - view.at) / HALF_LIFE) for view in self.views)


class BrowseAbandonment(Trigger):
    """The customer viewed one product several times, fell silent, and took no step closer to buying."""

    type_name: ClassVar[str] = "browse_abandonment"
    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("customer_id", "kind", "sku", "occurred_at"),
        "orders": ("order_id", "customer_id", "ordered_at"),
    }
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "product_events": ("event_id", "product_id", "cart_id", "quantity", "price", "currency", "received_at"),
        "orders": ("email", "status"),
        "products": ("sku", "product_id", "active"),
        "stock": ("sku", "quantity", "observed_at"),
        "identities": ("alias", "customer_id", "kind", "valid_from", "valid_to"),
        "customers": ("email", "is_internal"),
    }

    type: Literal["browse_abandonment"] = "browse_abandonment"
    idle: PositiveDuration = Field(
        timedelta(hours=1), description="How long the customer must have done nothing; exactly this long counts."
    )
    look_back: PositiveDuration = Field(
        timedelta(hours=24), description="Views older than this at the moment the entry is due no longer count."
    )
    minimum_views: int = Field(2, ge=1, description="How often one product must have been viewed, any variant.")
    maximum_views: int = Field(300, ge=1, description="Who views more than this within the look-back is a robot.")
    no_order_within: Duration = Field(
        timedelta(days=10), description="Customers with an order this recent are left in peace."
    )
    episode_gap: PositiveDuration = Field(
        timedelta(hours=24), description="Views less than this apart are one visit; a visit enters once."
    )
    top: int = Field(3, ge=1, le=20, description="How many products an entry names, the most wanted first.")

    @model_validator(mode="after")
    def _look_back_reaches(self) -> BrowseAbandonment:
        if self.look_back <= self.idle:
            raise ValueError("look_back must be longer than idle")
        return self

    @property
    def wait(self) -> timedelta:
        """Return the silence after which an abandoned visit is due."""
        return self.idle

    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return what everybody did who viewed enough and then fell silent, customer by customer."""
        since, last = before(window.start, self.idle), before(window.end, self.idle)
        people = identities(tables, window.end)
        silent = silent_since(tables, people, (since, last), window.end).cte("silent")
        viewed = events(tables, people, before(since, self.look_back), window.end, kinds=["viewed"]).cte("viewed")
        # Whether the views were of one product is settled row by row: the catalogue may have to say.
        enough = select(viewed.c.customer_id).group_by(viewed.c.customer_id)
        enough = enough.having(func.count() >= self.minimum_views)
        candidates = select(silent).where(silent.c.customer_id.in_(enough)).cte("candidates")
        return self._doings(tables, people, candidates, since, window.end)

    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield one entry per abandoned visit."""
        since, last = before(window.start, self.idle), before(window.end, self.idle)
        for (customer,), rows in grouped(shop.stream(self.found(shop.tables, window)), "customer_id"):
            seen = counted(rows, window.end)
            if not seen or not since < seen[-1].at <= last:
                continue
            entry = self._entry(customer, seen, rows[0].last_order)
            if entry is not None:
                yield entry

    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return who has bought, carted or checked out since, and whose products cannot be bought any more."""
        found: dict[str, SkipReason] = {}
        for chunk in in_chunks(entries):
            customers = sorted({entry.customer_id for entry in chunk})
            people = identities(shop.tables, as_of)
            query = self._doings(shop.tables, people, customers, min(e.anchor_at for e in chunk), as_of)
            doings = {key: rows for (key,), rows in grouped(shop.stream(query), "customer_id")}
            for entry in chunk:
                reason = _reason(entry, doings.get(entry.customer_id, []), as_of)
                if reason is not None:
                    found[entry.key] = reason
        return found

    def _doings(
        self, tables: Tables, people: Identities, whose: CTE | list[str], since: datetime, until: datetime
    ) -> Select[Any]:
        """Return everything these customers did, their last order, and what is known of each product."""
        seen = events(tables, people, before(since, HISTORY), until).subquery("seen")
        chosen: Select[Any]
        if isinstance(whose, list):
            chosen = select(*seen.c).where(seen.c.customer_id.in_(whose))
        else:
            chosen = select(*seen.c, whose.c.latest).join_from(seen, whose, whose.c.customer_id == seen.c.customer_id)
        doings = _with_shown(tables, chosen.cte("did"), until)
        oldest = before(since, max(self.no_order_within, HISTORY))
        orders = last_orders(live_orders(tables, people, oldest, until, of=whose if isinstance(whose, list) else None))
        rows: Any = doings.outerjoin(orders, orders.c.customer_id == doings.c.customer_id)
        rows, goods = with_goods(tables, rows, doings.c.shown, select(doings.c.shown), until)
        told = (column for column in doings.c if column.name != "latest")
        query = select(*told, orders.c.last_order.label("last_order"), *goods.columns()).select_from(rows)
        if not isinstance(whose, list):
            known = doings.c.latest if not self.no_order_within else before(until, self.no_order_within)
            query = query.where(or_(orders.c.last_order.is_(None), orders.c.last_order <= known))
        return without_internal(tables, people, query, doings.c.customer_id).order_by(doings.c.customer_id)

    def _entry(self, customer: str, seen: list[Seen], last_order: datetime | None) -> Entry | None:
        anchor = seen[-1].at
        entered_at = anchor + self.idle
        oldest = before(entered_at, self.look_back)
        views = [each for each in seen if each.kind == "viewed" and each.at > oldest]
        if not 0 < len(views) <= self.maximum_views:
            return None
        looks = [look for look in _looks(views, seen) if not _went_on(look, seen)]
        wanted = [look for look in looks if len(look.views) >= self.minimum_views]
        if not wanted or _open_cart(seen, last_order):
            return None
        first_view = min(look.views[0].at for look in wanted)
        recent = before(entered_at, self.no_order_within)
        if last_order is not None and (last_order >= first_view or last_order > recent):
            return None
        looks.sort(key=lambda look: (-look.weight(entered_at), look.parent))
        episode = _episode_start([each.at for each in seen if each.kind == "viewed"], self.episode_gap)
        return Entry(
            key=f"{customer}|{stamp(episode)}", customer_id=customer, anchor_at=anchor, entered_at=entered_at,
            items=tuple(_item(look) for look in looks[: self.top]), market=wanted[0].views[-1].market,
            currency=wanted[0].views[-1].currency, facts={"first_view": first_view.isoformat()},
        )  # fmt: skip


def _with_shown(tables: Tables, did: CTE, as_of: datetime) -> CTE:
    """Return doings with the sku that stands for what was looked at: the variant, or one of the product's."""
    variants = any_sku_of(tables, did, as_of)
    if variants is None:
        return select(*did.c, did.c.sku.label("shown")).cte("doings")
    # As one equality: a condition on one side alone would keep the join from being hashed.
    bare = case((did.c.sku.is_(None), did.c.product_id))
    rows = did.outerjoin(variants, variants.c.product_id == bare)
    shown = func.coalesce(did.c.sku, variants.c.sku)
    return select(*did.c, shown.label("shown")).select_from(rows).cte("doings")


def _parent(seen: Seen) -> str | None:
    return seen.product_id or seen.row.parent or seen.row.shown


def _looks(views: list[Seen], seen: list[Seen]) -> list[Look]:
    """Return the products among the views that can be named and bought; a view at price zero is set aside."""
    by_parent: dict[str, list[Seen]] = {}
    for view in views:
        parent = _parent(view)
        if parent is not None and view.row.shown is not None and not view.free and sellable(view.row):
            by_parent.setdefault(parent, []).append(view)
    return [Look(parent, tuple(found)) for parent, found in by_parent.items()]


def _went_on(look: Look, seen: list[Seen]) -> bool:
    """Return whether the product was put in a cart, or any checkout begun, since it was first looked at."""
    return any(
        each.kind == "checkout_started" or (each.kind in ("added", "quantity_set") and _parent(each) == look.parent)
        for each in seen
        if each.at >= look.views[0].at
    )


def _open_cart(seen: list[Seen], last_order: datetime | None) -> bool:
    carts = {each.row.cart for each in seen}
    return any(folded([each for each in seen if each.row.cart == cart], last_order).lines() for cart in carts)


def _episode_start(views: list[datetime], gap: timedelta) -> datetime:
    start = views[-1]
    for at in reversed(views):
        if start - at >= gap:
            break
        start = at
    return start


def _item(look: Look) -> Item:
    last = look.views[-1]
    return Item(last.row.shown, look.parent, 1, last.price, last.currency, last.at)


def _reason(entry: Entry, rows: list[Row[Any]], as_of: datetime) -> SkipReason | None:
    first_view = datetime.fromisoformat(entry.facts["first_view"])
    last_order = rows[0].last_order if rows else None
    if last_order is not None and last_order >= first_view:
        return SkipReason.PURCHASED
    seen = counted(rows, as_of)
    if _open_cart(seen, last_order):
        return SkipReason.NOT_TRUE
    skus = {item.sku for item in entry.items}
    parents = {item.product_id for item in entry.items}
    since = [each for each in seen if each.at >= first_view]
    if any(each.kind == "checkout_started" or (each.kind == "added" and _parent(each) in parents) for each in since):
        return SkipReason.NOT_TRUE
    shown = [each.row for each in seen if each.row.shown in skus]
    if any(sellable(row) for row in shown):
        return None
    # Another variant standing for the product by now means that the one in the message is gone.
    known = shown or [each.row for each in seen if _parent(each) in parents]
    return SkipReason.OUT_OF_STOCK if any(row.active for row in known) else SkipReason.UNKNOWN_PRODUCT
