"""Whose event it was: one canonical customer for every former id, and for what a device did before it was known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from tidings.detect.clock import BEGINNING
from tidings.warehouse.tables import Tables

# A login claims at most this much of the device's past; more would be another person's browsing (§1.2).
CLAIMED_PAST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Identities:
    """Former ids, and the stretches of a device's time that belong to one customer; absent when not mapped.

    A chain of merges is followed over two steps; a shop that merges more often maps the last id.
    """

    former: CTE | None = None
    segments: CTE | None = None

    def canonical(self, rows: FromClause, customer: ColumnElement[Any], name: str) -> tuple[Any, ColumnElement[Any]]:
        """Return ``rows`` joined with the former ids, and the canonical id for ``customer``."""
        if self.former is None:
            return rows, customer
        former = select(self.former).subquery(name)
        joined = rows.outerjoin(former, former.c.alias == customer)
        return joined, func.coalesce(former.c.customer_id, customer)


def identities(tables: Tables, as_of: datetime) -> Identities:
    """Return the identities known at ``as_of``; edges are the shop's own logins and merges, never guesses."""
    if not tables.has("identities", "alias", "customer_id"):
        return Identities()
    former = _former(tables, as_of)
    anonymous = tables.has("product_events", "anonymous_id")
    return Identities(former, _segments(tables, former, as_of) if anonymous else None)


def _edges(tables: Tables, kind: str) -> tuple[FromClause, ColumnElement[bool]]:
    edges = tables["identities"]
    if not tables.has("identities", "kind"):
        return edges, true()
    return edges, or_(edges.c.kind == kind, edges.c.kind.is_(None))


def _former(tables: Tables, as_of: datetime) -> CTE:
    edges, is_former = _edges(tables, "former")
    newest = (edges.c.valid_from.desc(), edges.c.customer_id)
    latest = func.row_number().over(partition_by=edges.c.alias, order_by=newest)
    ranked = (
        select(edges.c.alias, edges.c.customer_id, latest.label("nth"))
        .where(is_former, edges.c.valid_from <= as_of, edges.c.alias != edges.c.customer_id)
        .where(_still_valid(tables, edges, as_of))
        .cte("ranked_edges")
    )
    first = select(ranked.c.alias, ranked.c.customer_id).where(ranked.c.nth == 1).cte("merged_once")
    second = first.alias("merged_twice")
    return (
        select(first.c.alias, func.coalesce(second.c.customer_id, first.c.customer_id).label("customer_id"))
        .select_from(first.outerjoin(second, second.c.alias == first.c.customer_id))
        .cte("former_ids")
    )


def _still_valid(tables: Tables, edges: FromClause, as_of: datetime) -> ColumnElement[bool]:
    if not tables.has("identities", "valid_to"):
        return true()
    return or_(edges.c.valid_to.is_(None), edges.c.valid_to > as_of)


def _segments(tables: Tables, former: CTE, as_of: datetime) -> CTE:
    """Split each device's time at logins and logouts; a stretch belongs to whoever closes it.

    The last stretch belongs to who is still logged in, and to nobody after a logout.
    """
    edges, is_anonymous = _edges(tables, "anonymous")
    joined, owner = Identities(former).canonical(edges, edges.c.customer_id, "device_owner")
    logins = select(
        edges.c.alias, owner.label("customer_id"), edges.c.valid_from.label("at"), literal(1).label("login")
    ).select_from(joined).where(is_anonymous, edges.c.valid_from <= as_of)  # fmt: skip
    turns = logins.cte("device_turns")
    if tables.has("identities", "valid_to"):
        logouts = select(edges.c.alias, owner, edges.c.valid_to, literal(0)).select_from(joined)
        turns = union_all(logins, logouts.where(is_anonymous, edges.c.valid_to <= as_of)).cte("device_turns")
    order = (turns.c.at, turns.c.login)
    previous = func.lag(turns.c.at).over(partition_by=turns.c.alias, order_by=order)
    following = func.lead(turns.c.at).over(partition_by=turns.c.alias, order_by=order)
    around = select(turns, previous.label("previous"), following.label("following")).cte("device_stretches")
    beginning = literal(BEGINNING, DateTime(timezone=True))
    closed = select(
        around.c.alias, around.c.customer_id, func.coalesce(around.c.previous, beginning).label("since"),
        around.c.at.label("until"), around.c.login,
    )  # fmt: skip
    open_ = select(
        around.c.alias, around.c.customer_id, around.c.at, literal(as_of, DateTime(timezone=True)), literal(0)
    ).where(around.c.following.is_(None), around.c.login == 1)  # fmt: skip
    return union_all(closed, open_).cte("device_segments")


def owned(
    tables: Tables, people: Identities, events: FromClause
) -> tuple[FromClause, ColumnElement[Any], ColumnElement[Any]]:
    """Return product events joined with their owners: the join, the owner's id (or NULL), when a login claimed it."""
    joined, owner = people.canonical(events, events.c.customer_id, "known_as")
    segments = people.segments
    if segments is None:
        return joined, owner, null().cast(DateTime(timezone=True))
    joined = joined.outerjoin(
        segments,
        and_(
            # As one equality: a condition on one side alone would keep the join from being hashed.
            segments.c.alias == case((events.c.customer_id.is_(None), events.c.anonymous_id)),
            events.c.occurred_at > segments.c.since,
            events.c.occurred_at <= segments.c.until,
        ),
    )
    claimed_at = case((segments.c.login == 1, segments.c.until))
    return joined, func.coalesce(owner, segments.c.customer_id), claimed_at


def internal(tables: Tables, people: Identities) -> CTE | None:
    """Return the canonical ids of the shop's own people, who get no messages; None when the shop does not say."""
    if not tables.has("customers", "is_internal"):
        return None
    customers = tables["customers"]
    joined, owner = people.canonical(customers, customers.c.customer_id, "staff")
    return (
        select(owner.label("customer_id")).select_from(joined).where(customers.c.is_internal == true()).distinct()
    ).cte("internal")


def without_internal(
    tables: Tables, people: Identities, rows: Select[Any], customer: ColumnElement[Any]
) -> Select[Any]:
    """Return the rows of everybody but the shop's own people."""
    staff = internal(tables, people)
    if staff is None:
        return rows
    return rows.outerjoin(staff, staff.c.customer_id == customer).where(staff.c.customer_id.is_(None))
