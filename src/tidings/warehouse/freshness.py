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
    given = {name: mapped[name].watermark for name in dict.fromkeys(names) if name in mapped}
    asked = {name: one for name, one in given.items() if one is not None}
    newest = _newest(shop, asked, as_of)
    found: dict[str, datetime | None] = {}
    for name in dict.fromkeys(names):
        at = newest.get(name)
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
    """Return those of the tables with these watermarks that are stale, with them; an unbounded one never is."""
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    limits = {name: mapping.freshness_of(name) for name in marks}
    found = {name: at or beginning for name, at in marks.items() if limits[name] < mapping.freshness_of("")}
    return {name: at for name, at in found.items() if as_of - at > limits[name]}


def _newest(shop: Shop, asked: Marks[str, Watermark], as_of: datetime | None) -> dict[str, datetime | None]:
    """Return each table's own word; a query of the shop's is asked by itself, all others in one statement."""
    found: dict[str, datetime | None] = {}
    together = {name: _question(shop, name, one, as_of) for name, one in asked.items() if one.query is None}
    if together:
        answers = [question.scalar_subquery().label(name) for name, question in together.items()]
        row = next(iter([*shop.stream(select(*answers))]))
        found.update({name: _aware(name, value) for name, value in zip(together, row, strict=True)})
    for name, one in asked.items():
        if one.query is not None:
            rows = [row[0] for row in shop.stream(_question(shop, name, one, as_of))]
            if len(rows) > 1:
                raise WarehouseError(
                    f"warehouse.yaml: tables.{name}.watermark: must answer with one row; found {len(rows)}"
                )
            found[name] = _aware(name, rows[0] if rows else None)
    return found


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
