"""Win-back: a customer who used to buy has not done so for longer than the shop, or they themselves, are used to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field
from sqlalchemy import CTE, ColumnElement, Row, Select, Subquery, case, func, or_, select

from tidings.detect.base import Trigger
from tidings.detect.clock import BEGINNING, before, stamp
from tidings.detect.events import grouped
from tidings.detect.identity import Identities, identities, without_internal
from tidings.detect.lookups import in_chunks
from tidings.detect.purchases import live_orders
from tidings.fields import PositiveDuration
from tidings.model.entry import Entry, Window
from tidings.model.message import SkipReason
from tidings.warehouse.tables import Shop, Tables

# A personal rhythm shorter or longer than this says more about chance than about the customer (§1.4 T5).
SHORTEST, LONGEST = timedelta(days=30), timedelta(days=365)
# How many gaps of the shop's own lapse stand beside a customer's, so that four orders do not decide alone.
PRIOR = 5


class WinBack(Trigger):
    """The customer's last order that counts lies exactly a lapse ago, or longer within the entry window."""

    type_name: ClassVar[str] = "win_back"
    requires: ClassVar[Mapping[str, tuple[str, ...]]] = {"orders": ("order_id", "customer_id", "ordered_at")}
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "orders": ("email", "status", "total"),
        "refunds": ("order_id", "amount", "refunded_at"),
        "identities": ("alias", "customer_id", "kind", "valid_from", "valid_to"),
        "customers": ("email", "is_internal"),
    }

    type: Literal["win_back"] = "win_back"
    lapse: PositiveDuration = Field(
        timedelta(days=90), description="How long ago the last order must be; exactly this long counts."
    )
    entry_window: PositiveDuration | None = Field(
        timedelta(days=7),
        description="Customers who lapsed longer ago than this stay out, so that a first run does not write to "
        "years of them. None: everybody whom the run's window covers.",
    )
    minimum_orders: int = Field(1, ge=1, description="How many orders that count a customer must have.")
    cadence: Literal["none", "mean", "quantile"] = Field(
        "none",
        description="Whose rhythm decides from four orders on: none (the lapse for everybody), mean (the customer's "
        "mean gap times the factor), quantile (their 90 % gap, weighed with the lapse).",
    )
    factor: float = Field(2.0, gt=0, le=10, description="With cadence mean: the lapse is this many mean gaps.")
    cadence_orders: int = Field(4, ge=2, description="From how many orders on the customer's own rhythm decides.")

    @property
    def wait(self) -> timedelta:
        """Return the lapse; with a cadence, the shortest there can be."""
        return self.lapse if self.cadence == "none" else min(self.lapse, SHORTEST)

    def found(self, tables: Tables, window: Window) -> Select[Any]:
        """Return each lapsed customer in one row; with cadence quantile, in a row per order."""
        since, last = self._slice(window)
        people = identities(tables, window.end)
        orders = _kept_orders(tables, people, BEGINNING, window.end)
        lapsed = _customers(orders, since, last, self.minimum_orders)
        # What tells one order from the next is asked for the lapsed only: to tell all orders apart costs too much.
        each = _kept_orders(tables, people, BEGINNING, window.end)
        theirs = lapsed.join(each, each.c.customer_id == lapsed.c.customer_id)
        if self.cadence == "quantile":
            rows = select(lapsed, each.c.ordered_at, each.c.order_id).select_from(theirs)
        else:
            number = func.count(each.c.order_id.distinct())
            last_one = case((each.c.ordered_at == lapsed.c.last_order, each.c.order_id))
            rows = select(lapsed, number.label("orders"), func.min(last_one).label("order_id")).select_from(theirs)
            rows = rows.group_by(*lapsed.c).having(number >= self.minimum_orders)
        return without_internal(tables, people, rows, lapsed.c.customer_id).order_by(lapsed.c.customer_id)

    def entries(self, shop: Shop, window: Window) -> Iterator[Entry]:
        """Yield one entry per lapsed customer."""
        for (customer,), rows in grouped(shop.stream(self.found(shop.tables, window)), "customer_id"):
            row: Any = rows[0]
            times, order = _orders(rows) if self.cadence == "quantile" else ([], row.order_id)
            orders = len(times) or row.orders
            if orders < self.minimum_orders:
                continue
            lapse = self._lapse(row, orders, times)
            entered_at = row.last_order + lapse
            too_late = self.entry_window is not None and entered_at <= before(window.end, self.entry_window)
            if not window.start < entered_at <= window.end or too_late:
                continue
            yield Entry(
                key=f"{customer}|{order}|{stamp(row.last_order)}", customer_id=customer, anchor_at=row.last_order,
                entered_at=entered_at, facts={"order": str(order), "orders": str(orders)},
            )  # fmt: skip

    def untrue(self, shop: Shop, entries: Sequence[Entry], as_of: datetime) -> dict[str, SkipReason]:
        """Return who has ordered since."""
        found: dict[str, SkipReason] = {}
        for chunk in in_chunks(entries):
            since = min(entry.anchor_at for entry in chunk)
            whose = sorted({entry.customer_id for entry in chunk})
            orders = live_orders(shop.tables, identities(shop.tables, as_of), since, as_of, of=whose)
            last_order = func.max(orders.c.ordered_at).label("last_order")
            query = select(orders.c.customer_id, last_order).group_by(orders.c.customer_id)
            last = {row.customer_id: row.last_order for row in shop.stream(query)}
            for entry in chunk:
                if entry.customer_id in last and last[entry.customer_id] > entry.anchor_at:
                    found[entry.key] = SkipReason.PURCHASED
        return found

    def _slice(self, window: Window) -> tuple[datetime, datetime]:
        """Return the stretch in which the last order may lie: after the first, at or before the second."""
        longest = self.lapse if self.cadence == "none" else max(self.lapse, LONGEST)
        start = window.start if self.entry_window is None else max(window.start, before(window.end, self.entry_window))
        return before(start, longest), before(window.end, self.wait)

    def _lapse(self, row: Any, orders: int, times: list[datetime]) -> timedelta:
        own: timedelta
        if self.cadence == "none" or orders < self.cadence_orders:
            return self.lapse
        if self.cadence == "mean":
            own = (row.last_order - row.first_order) / (orders - 1) * self.factor
        else:
            own = (orders * _gap_90(times) + PRIOR * self.lapse) / (orders + PRIOR)
        return max(SHORTEST, min(LONGEST, own))


def _orders(rows: list[Row[Any]]) -> tuple[list[datetime], str]:
    """Return when each order was placed, each once, and the id of the last."""
    last = {row.order_id: row.ordered_at for row in sorted(rows, key=lambda row: row.ordered_at)}
    times = sorted(last.values())
    return times, min(order for order, at in last.items() if at == times[-1])


def _gap_90(times: list[datetime]) -> timedelta:
    """Return the 90 % quantile of the gaps between orders, interpolated between the two nearest."""
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    place = 0.9 * (len(gaps) - 1)
    low = int(place)
    high = min(low + 1, len(gaps) - 1)
    gap: timedelta = gaps[low] + (gaps[high] - gaps[low]) * (place - low)
    return gap


def _customers(orders: Subquery, since: datetime, last: datetime, minimum_orders: int) -> CTE:
    """Return who last ordered in ``(since, last]``; nobody with an order open, where the shop tells open from done."""
    last_order = func.max(orders.c.ordered_at)
    quiet: list[ColumnElement[bool]] = [last_order > since, last_order <= last, func.count() >= minimum_orders]
    if "status" in orders.c:
        done = func.sum(case((orders.c.status == "completed", 1), else_=0))
        open_ = func.sum(case((orders.c.status == "placed", 1), else_=0))
        quiet.append(or_(open_ == 0, done == 0))
    return (
        select(
            orders.c.customer_id, last_order.label("last_order"), func.min(orders.c.ordered_at).label("first_order")
        )
        .group_by(orders.c.customer_id).having(*quiet).cte("lapsed")
    )  # fmt: skip


def _kept_orders(tables: Tables, people: Identities, since: datetime, until: datetime) -> Subquery:
    """Return every live order of ``(since, until]`` that was not paid back whole by then."""
    extra = [name for name in ("status", "total") if tables.has("orders", name)]
    orders = live_orders(tables, people, since, until, extra=extra)
    rows = select(*orders.c)
    if "status" in extra:
        rows = rows.where(or_(orders.c.status.is_(None), orders.c.status != "refunded"))
    if "total" in extra and tables.has("refunds", "order_id", "amount", "refunded_at"):
        refunds = tables["refunds"]
        paid_back = (
            select(refunds.c.order_id, func.sum(refunds.c.amount).label("amount"))
            .where(refunds.c.refunded_at <= until)
            .group_by(refunds.c.order_id)
            .subquery("paid_back")
        )
        rows = rows.outerjoin(paid_back, paid_back.c.order_id == orders.c.order_id)
        amount, total = paid_back.c.amount, orders.c.total
        rows = rows.where(or_(amount.is_(None), total.is_(None), amount < total))
    return rows.subquery("kept_orders")
