"""How far each table is loaded: a trigger never runs ahead of its sources, and a quiet shop is not a stale one."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Marks
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import FromClause, Select, column, func, select, table, text

from tidings.errors import WarehouseError
from tidings.warehouse.mapping import Mapping, Watermark
from tidings.warehouse.tables import Shop


def watermarks(
    shop: Shop, mapping: Mapping, names: Iterable[str], *, as_of: datetime | None = None
) -> dict[str, datetime | None]:
    """Return, per logical table, the moment up to which it is complete: its watermark less its lateness.

    None where the shop says nothing. A watermark after ``as_of`` is not looked at: a row with a clock in the
    future must not hide that the feed stands still.
    """
    mapped = mapping.mapped()
    found: dict[str, datetime | None] = {}
    for name in dict.fromkeys(names):
        given = mapped[name].watermark if name in mapped else None
        if given is None:
            found[name] = None
            continue
        at = _newest(shop, name, given, as_of)
        found[name] = None if at is None else at - mapped[name].lateness
    return found


def stale(shop: Shop, mapping: Mapping, names: Iterable[str], as_of: datetime) -> dict[str, datetime]:
    """Return the tables whose watermark lies further behind ``as_of`` than their ``freshness`` allows, with it.

    A table without ``freshness`` or watermark is never stale; one that has both but no load yet is, since ever.
    """
    return too_old(mapping, bounded(shop, mapping, names, as_of), as_of)


def bounded(shop: Shop, mapping: Mapping, names: Iterable[str], as_of: datetime) -> dict[str, datetime | None]:
    """Return the watermarks of those of the tables whose age is bounded at all."""
    asked = [name for name in names if mapping.freshness_of(name) < mapping.freshness_of("")]
    return watermarks(shop, mapping, asked, as_of=as_of)


def too_old(mapping: Mapping, marks: Marks[str, datetime | None], as_of: datetime) -> dict[str, datetime]:
    """Return those of the tables with these watermarks that are stale, with them."""
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    found = {name: at or beginning for name, at in marks.items()}
    return {name: at for name, at in found.items() if as_of - at > mapping.freshness_of(name)}


def _newest(shop: Shop, name: str, given: Watermark, as_of: datetime | None) -> datetime | None:
    rows = [row[0] for row in shop.stream(_question(shop, name, given, as_of))]
    if len(rows) > 1:
        raise WarehouseError(f"warehouse.yaml: tables.{name}.watermark: must answer with one row; found {len(rows)}")
    return _aware(name, rows[0] if rows else None)


def _question(shop: Shop, name: str, given: Watermark, as_of: datetime | None) -> Select[Any]:
    if given.query is not None:
        body = given.query.strip().rstrip(";").replace(":", "\\:") + "\n"
        answer = text(body).columns().subquery("answer")
        return select(text("*")).select_from(answer)
    if given.table is None:
        source = shop.tables[name]
        at = source.c[str(given.column)]
        newest = select(func.max(at)).select_from(source)
        return newest if as_of is None else newest.where(at <= as_of)
    log = _log(given.table, [str(given.column), *given.where])
    at = log.c[str(given.column)]
    newest = select(func.max(at)).where(*(log.c[theirs] == value for theirs, value in given.where.items()))
    return newest if as_of is None else newest.where(at <= as_of)


def _log(name: str, columns: list[str]) -> FromClause:
    schema, _, plain = name.rpartition(".")
    return table(plain, *(column(one) for one in dict.fromkeys(columns)), schema=schema or None)


def _aware(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace(" UTC", "+00:00"))
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise WarehouseError(f"warehouse.yaml: tables.{name}.watermark: must be a time; found something else")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
