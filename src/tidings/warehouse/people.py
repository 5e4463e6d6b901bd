"""Who a person is, what they allowed and what they ordered: under every id they ever had, in a query per table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, func, or_, select

from tidings.model.people import Channel, Consent, Customer
from tidings.warehouse.contract import DEAD_ORDERS
from tidings.warehouse.tables import Shop

# Below PostgreSQL's limit of bound values, with room for two lists in one statement.
MOST_IDS = 10_000
# Ids that were merged into one another; a longer chain is a mistake in the shop's data.
_MOST_MERGES = 5
_CHANNELS = {str(one): one for one in Channel}
_FIELDS = ("email", "phone", "first_name", "last_name", "locale", "country", "region", "zone")
_ATTRIBUTES = ("zone_source", "segment", "is_internal")


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order that counts: neither cancelled nor failed. ``total`` is in minor units of ``currency``.

    ``customer_id`` is the canonical customer it belongs to, whatever id or e-mail address it was placed under.
    """

    order_id: str
    customer_id: str
    ordered_at: datetime
    total: int | None = None
    currency: str | None = None
    cart_id: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Which canonical person every id belongs to, and every id of a person."""

    canonical: dict[str, str]
    ids: dict[str, set[str]]


def customers(shop: Shop, ids: Iterable[str], *, known: Known | None = None) -> dict[str, Customer]:
    """Return the customers by id, each with its other ids; an id the shop does not know is left out.

    A former id answers with the person it was merged into, so ``found[asked].id`` is always canonical; the
    canonical id is a key as well.
    """
    asked = sorted(set(ids))
    if not shop.tables.has("customers"):
        return {}
    known = known or known_by(shop, asked)
    table = shop.tables["customers"]
    given = [name for name in (*_FIELDS, *_ATTRIBUTES) if shop.tables.has("customers", name)]
    columns = [table.c.customer_id, *(table.c[name] for name in given)]
    found: dict[str, Customer] = {}
    for some in _portions(known.ids):
        for row in shop.stream(select(*columns).where(table.c.customer_id.in_(some))):
            found[row.customer_id] = _customer(row, given, known)
    return found | {one: found[known.canonical[one]] for one in asked if known.canonical[one] in found}


def _customer(row: Row[Any], given: Sequence[str], known: Known) -> Customer:
    who: str = row[0]
    said: dict[str, Any] = dict(zip(given, row[1:], strict=True))
    attributes = {}
    for name in _ATTRIBUTES:
        value = said.pop(name, None)
        if value is not None:
            attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
    ids = known.ids[who]
    return Customer(who, attributes=attributes, aliases=tuple(sorted(ids - {who})) if len(ids) > 1 else (), **said)


def canonical_ids(shop: Shop, ids: Iterable[str]) -> dict[str, str]:
    """Return the canonical id of every id of the people behind these; an id that nobody merged is its own."""
    known = known_by(shop, ids)
    return known.canonical | _owners(known)


def consents(shop: Shop, ids: Iterable[str], *, known: Known | None = None) -> list[Consent]:
    """Return every statement of these customers, under any of their ids, oldest first; ids are canonical."""
    if not shop.tables.has("consents"):
        return []
    known = known or known_by(shop, ids)
    owners = _owners(known)
    table = shop.tables["consents"]
    worded = shop.tables.has("consents", "wording")
    wanted = [table.c.customer_id, table.c.channel, table.c.purpose, table.c.status, table.c.occurred_at]
    wanted += [table.c.wording] if worded else []
    found = []
    for some in _portions(owners):
        for row in shop.stream(select(*wanted).where(table.c.customer_id.in_(some))):
            channel = _CHANNELS.get(row.channel)
            if channel is not None and row.status is not None:
                granted = row.status == "granted"
                who = owners[row.customer_id]
                wording = row.wording if worded else None
                found.append(Consent(who, channel, row.purpose, granted, row.occurred_at, wording=wording))
    found.sort(key=lambda one: (one.at, one.customer_id, one.channel, one.purpose, not one.granted))
    return found


def orders_since(
    shop: Shop, ids: Iterable[str], since: datetime, *, until: datetime | None = None, known: Known | None = None
) -> list[PlacedOrder]:
    """Return what these customers ordered at or after ``since`` (up to ``until``, inclusive), oldest first.

    Any alias counts, and a guest order under the customer's e-mail address. An order under an address that two
    of them share belongs to both.
    """
    if not shop.tables.has("orders"):
        return []
    asked = sorted(set(ids))
    known = known or known_by(shop, asked)
    owners, addresses = _owners(known), _addresses(shop, known)
    found: dict[tuple[str, str], PlacedOrder] = {}
    by_id = shop.tables.has("orders", "customer_id")
    by_address = shop.tables.has("orders", "email")
    for some in _portions(owners) if by_id else ():
        for row in _orders(shop, shop.tables["orders"].c.customer_id.in_(some), since, until):
            who = owners[row.customer_id]
            found[who, row.order_id] = _order(row, who)
    for some in _portions(addresses) if by_address else ():
        for row in _orders(shop, func.lower(func.trim(shop.tables["orders"].c.email)).in_(some), since, until):
            for who in addresses[_plain(row.email)]:
                found.setdefault((who, row.order_id), _order(row, who))
    return sorted(found.values(), key=lambda one: (one.ordered_at, one.order_id, one.customer_id))


def _orders(shop: Shop, whose: ColumnElement[bool], since: datetime, until: datetime | None) -> Iterator[Row[Any]]:
    orders = shop.tables["orders"]
    names = ("order_id", "customer_id", "email", "ordered_at", "total", "currency", "cart_id", "status")
    query = select(*(orders.c[name] for name in names)).where(whose, orders.c.ordered_at >= since)
    if until is not None:
        query = query.where(orders.c.ordered_at <= until)
    if shop.tables.has("orders", "status"):
        query = query.where(or_(orders.c.status.is_(None), orders.c.status.not_in(DEAD_ORDERS)))
    return shop.stream(query)


def _order(row: Row[Any], who: str) -> PlacedOrder:
    return PlacedOrder(row.order_id, who, row.ordered_at, row.total, row.currency, row.cart_id, row.status)


def _addresses(shop: Shop, known: Known) -> dict[str, set[str]]:
    """Return who has each e-mail address, of the people in ``known``."""
    found: dict[str, set[str]] = defaultdict(set)
    if not (shop.tables.has("customers", "email") and shop.tables.has("orders", "email")):
        return found
    table, owners = shop.tables["customers"], _owners(known)
    for some in _portions(owners):
        query = select(table.c.customer_id, table.c.email).where(
            table.c.customer_id.in_(some), table.c.email.is_not(None)
        )
        for row in shop.stream(query):
            found[_plain(row.email)].add(owners[row.customer_id])
    found.pop("", None)
    return found


def _plain(email: str) -> str:
    return email.strip(" ").lower()


def _owners(known: Known) -> dict[str, str]:
    return {one: canonical for canonical, ids in known.ids.items() for one in ids}


def known_by(shop: Shop, ids: Iterable[str]) -> Known:
    """Follow former ids to the person they were merged into, then gather every id of each person.

    Whoever asks several things about the same people asks this once and hands it on.
    """
    asked = sorted(set(ids))
    canonical = {one: one for one in asked}
    if not shop.tables.has("identities"):
        return Known(canonical, {one: {one} for one in asked})
    for _ in range(_MOST_MERGES):
        merged = _merged(shop, canonical.values())
        if not merged:
            break
        canonical = {one: merged.get(now, now) for one, now in canonical.items()}
    owner = {one: one for one in canonical.values()}
    latest: Collection[str] = owner
    for _ in range(_MOST_MERGES):
        # An id may have been merged elsewhere since: its newest line says where it belongs.
        former = _merged(shop, _former(shop, latest) - owner.keys())
        fresh = {alias: owner[now] for alias, now in former.items() if now in owner}
        if not fresh:
            break
        owner.update(fresh)
        latest = fresh
    gathered: dict[str, set[str]] = {one: {one} for one in canonical.values()}
    for alias, person in owner.items():
        gathered[person].add(alias)
    return Known(canonical, gathered)


def _former(shop: Shop, ids: Iterable[str]) -> set[str]:
    """Return the ids that were at any time merged into one of these."""
    edges = shop.tables["identities"]
    return {
        row.alias
        for some in _portions(ids)
        for row in shop.stream(select(edges.c.alias).where(edges.c.customer_id.in_(some), *_deterministic(edges)))
    }


def _merged(shop: Shop, ids: Iterable[str]) -> dict[str, str]:
    """Return the id that each of these was merged into, the newest line first; an id that never was is left out."""
    edges = shop.tables["identities"]
    wanted = (edges.c.alias, edges.c.customer_id, edges.c.valid_from)
    newest: dict[str, tuple[datetime, str]] = {}
    for some in _portions(ids):
        for row in shop.stream(select(*wanted).where(edges.c.alias.in_(some), *_deterministic(edges))):
            known = newest.get(row.alias)
            if (
                known is None
                or row.valid_from > known[0]
                or (row.valid_from == known[0] and row.customer_id < known[1])
            ):
                newest[row.alias] = (row.valid_from, row.customer_id)
    return {alias: customer for alias, (_, customer) in newest.items()}


def _deterministic(edges: FromClause) -> list[ColumnElement[bool]]:
    """Return which lines merge people: former ids that still hold, never a device that several may share."""
    return [
        or_(edges.c.kind.is_(None), edges.c.kind == "former"),
        edges.c.valid_to.is_(None),
        edges.c.alias != edges.c.customer_id,
    ]


def _portions(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sorted(set(ids)))
    while some := list(islice(rest, MOST_IDS)):
        yield some
