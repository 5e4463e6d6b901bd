"""What is wrong between a mapping and the shop's real tables: every problem, not only the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from sqlalchemy import Boolean, Column, DateTime, Integer, Numeric

from tidings.warehouse.contract import contract
from tidings.warehouse.mapping import ColumnMapping, TableMapping, is_money
from tidings.warehouse.mapping import Mapping as ShopMapping
from tidings.warehouse.shape import Family, Shape


class Problem(NamedTuple):
    """One thing that does not fit: the field of ``warehouse.yaml``, the rule, and what was found."""

    place: str
    rule: str
    found: str


_TIMES = {Family.AWARE, Family.NAIVE, Family.DATE, Family.TEXT}
_NUMBERS = {Family.WHOLE, Family.FLOAT, Family.DECIMAL, Family.TEXT}


def problems(mapping: ShopMapping, shapes: Mapping[str, Shape]) -> list[Problem]:
    """Return every problem, in the order of the contract."""
    return [
        problem
        for name, table in mapping.mapped().items()
        for problem in _of_table(f"tables.{name}", name, table, shapes.get(name))
    ]


def _of_table(place: str, name: str, table: TableMapping, shape: Shape | None) -> Iterator[Problem]:
    if shape is None:
        field = f"{place}.sql" if table.sql else f"{place}.table"
        found = "a query that it refuses" if table.sql else f'no "{table.table or name}"'
        yield Problem(field, "must be readable in the warehouse", found)
        return
    for theirs in table.where:
        yield from _missing(f"{place}.where", theirs, shape)
    given = table.given(name)
    for ours in contract.tables[name].c:
        spot = f"{place}.columns.{ours.name}"
        if given is None:
            one = ColumnMapping(column=ours.name, unit="minor" if is_money(ours) else None)
            if _actual(ours.name, shape) is None:
                if not ours.nullable:
                    yield Problem(spot, "is needed in this table", _near(ours.name, shape))
                continue
        elif ours.name in given:
            one = given[ours.name]
        else:
            continue
        yield from _of_column(spot, ours, one, shape)


def _of_column(place: str, ours: Column[object], one: ColumnMapping, shape: Shape) -> Iterator[Problem]:
    if one.currency_column is not None:
        yield from _missing(place, one.currency_column, shape)
    if one.column is None:
        return
    actual = _actual(one.column, shape)
    if actual is None:
        yield from _missing(place, one.column, shape)
        return
    family = shape[actual]
    if rule := _objection(ours, one, family):
        yield Problem(place, rule, f"{actual} is a {family}" if family is not Family.OTHER else f"{actual} is neither")


def _objection(ours: Column[object], one: ColumnMapping, family: Family) -> str | None:
    if one.values is not None:
        return None
    if isinstance(ours.type, DateTime):
        if one.epoch:
            return None if family in _NUMBERS else "epoch needs a number"
        if one.format:
            return None if family is Family.TEXT else "format needs a text"
        if one.zone and family is Family.AWARE:
            return "zone is for times without one"
        if family in (Family.WHOLE, Family.FLOAT, Family.DECIMAL):
            return "a time kept as a number needs epoch: s or epoch: ms"
        return None if family in _TIMES else "must be a time"
    if isinstance(ours.type, Boolean):
        return None if family in _NUMBERS | {Family.BOOLEAN} else "must be true or false"
    if is_money(ours) and one.unit == "minor" and family in (Family.FLOAT, Family.DECIMAL):
        return "unit minor needs whole numbers; leave unit out for euros"
    if isinstance(ours.type, Integer | Numeric):
        return None if family in _NUMBERS else "must be a number"
    return None


def _actual(name: str, shape: Shape) -> str | None:
    if name in shape:
        return name
    near = [one for one in shape if one.lower() == name.lower()]
    return near[0] if len(near) == 1 else None


def _missing(place: str, name: str, shape: Shape) -> Iterator[Problem]:
    if _actual(name, shape) is None:
        yield Problem(place, "must be a column of the shop's table", _near(name, shape))


def _near(name: str, shape: Shape) -> str:
    lower = {one.lower(): one for one in shape}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f'no "{name}"' + (f' (did you mean "{lower[close[0]]}"?)' if close else "")
