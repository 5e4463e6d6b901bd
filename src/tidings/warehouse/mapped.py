"""The shop's tables as selectables under our names: each a thin SELECT that the database sees through."""

from __future__ import annotations

from collections.abc import Mapping as Map
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    String,
    case,
    cast,
    column,
    func,
    literal,
    null,
    select,
    table,
    text,
    type_coerce,
)

from tidings.errors import WarehouseError
from tidings.model.money import EXPONENTS
from tidings.warehouse.contract import contract
from tidings.warehouse.expressions import (
    LATEST_SECOND,
    SCALE,
    EpochTime,
    ExactNumber,
    IsoTime,
    LocalTime,
    TextNumber,
    TextTime,
    WholeText,
)
from tidings.warehouse.mapping import ColumnMapping, Mapping, TableMapping, is_money
from tidings.warehouse.pushdown import RAW, EpochBack, Instant, LocalBack, NumberBack, Word, WordsBack
from tidings.warehouse.shape import Family, Shape
from tidings.warehouse.tables import Tables

Expression = ColumnElement[Any]
# What an expression reads, its type of ours, and the raw column that a filter may reach.
Reading = tuple[Expression, Expression | None]


def tables(mapping: Mapping, dialect: str = "", shapes: Map[str, Shape] | None = None) -> Tables:
    """Return their tables as selectables under our names.

    ``shapes`` holds the real columns by logical table; a table that is not in it is taken to have the types its
    mapping says, so that statements can be compiled without a connection. ``dialect`` is accepted for symmetry:
    one statement serves every dialect.
    """
    found: dict[str, FromClause] = {}
    given: dict[str, frozenset[str]] = {}
    for name, mapped in mapping.mapped().items():
        reader = _Reader(name, mapped, (shapes or {}).get(name))
        found[name] = reader.selectable()
        given[name] = frozenset(reader.columns)
    return Tables(found, given)


def source(mapped: TableMapping, name: str, columns: list[str]) -> FromClause:
    """Return the shop's own table or SELECT, with the columns that are read from it."""
    if mapped.sql is not None:
        # A line break ends a trailing comment; a colon would begin a bound value.
        body = mapped.sql.strip().rstrip(";").replace(":", "\\:") + "\n"
        return text(body).columns(*(column(one) for one in columns)).subquery(f"their_{name}")
    schema, _, plain = (mapped.table or name).rpartition(".")
    return table(plain, *(column(one) for one in columns), schema=schema or None)


class _Reader:
    """Builds one logical table; what it cannot know it takes from the mapping."""

    def __init__(self, name: str, mapped: TableMapping, shape: Shape | None) -> None:
        self.name = name
        self.mapped = mapped
        self.shape = shape
        self.ours = contract.tables[name].c
        given = mapped.given(name)
        self.as_is = given is None
        if given is None:
            known = {one.lower() for one in shape} if shape is not None else None
            given = {
                one.name: ColumnMapping(column=one.name, unit="minor" if is_money(one) else None)
                for one in self.ours
                if known is None or one.name in known
            }
        self.columns = given
        self.their = source(mapped, name, self._needed())

    def _needed(self) -> list[str]:
        asked = [one.column for one in self.columns.values()] + [one.currency_column for one in self.columns.values()]
        return list(dict.fromkeys(self._actual(one) for one in [*asked, *self.mapped.where] if one is not None))

    def _actual(self, name: str) -> str:
        """Return the shop's spelling of a column: exact, or else the only one that differs in case."""
        if self.shape is None or name in self.shape:
            return name
        near = [one for one in self.shape if one.lower() == name.lower()]
        return near[0] if len(near) == 1 else name

    def _raw(self, name: str) -> tuple[Expression, Family | None]:
        actual = self._actual(name)
        return self.their.c[actual], None if self.shape is None else self.shape.get(actual)

    def selectable(self) -> FromClause:
        """Return the SELECT that reads the table."""
        shown: list[Expression] = []
        conditions = [self._where(name, value) for name, value in self.mapped.where.items()]
        for ours in self.ours:
            mapped = self.columns.get(ours.name)
            if mapped is None:
                absent = cast(null(), ours.type)
                shown.append(
                    (type_coerce(absent, Instant()) if isinstance(ours.type, DateTime) else absent).label(ours.name)
                )
                continue
            value, raw = self._reading(ours, mapped)
            shown.append(value.label(ours.name))
            if raw is not None:
                shown.append(raw.label(RAW + ours.name))
            if not ours.nullable:
                conditions += self._present(mapped, value, raw)
        return select(*shown).select_from(self.their).where(*conditions).subquery(self.name)

    def _where(self, name: str, value: Any) -> Expression:
        raw, family = self._raw(name)
        if isinstance(value, list):
            return raw.in_([_as(family, one) for one in value])
        same: Expression = raw == _as(family, value)
        return same

    def _present(self, mapped: ColumnMapping, value: Expression, raw: Expression | None) -> list[Expression]:
        """Return what leaves out a row whose required column cannot be read."""
        if mapped.column is None:
            return []
        theirs, family = self._raw(mapped.column)
        if mapped.values is not None:
            return [theirs.in_([one for word in mapped.values for one in _spellings(family, word)])]
        if isinstance(value.type, Instant) and mapped.epoch and raw is not None:
            return [theirs.between(0, LATEST_SECOND * SCALE[mapped.epoch])]
        readable = raw is not None or isinstance(value.type, Word)
        return [theirs.is_not(None) if readable else value.is_not(None)]

    def _reading(self, ours: Column[Any], mapped: ColumnMapping) -> Reading:
        if mapped.constant is not None:
            if is_money(ours) and mapped.unit != "minor":
                return _minor(literal(mapped.constant), None, self._factor(mapped)), None
            # Bound once and cast, so that a database that plans before it binds knows the type.
            return cast(literal(mapped.constant, ours.type), ours.type), None
        raw, family = self._raw(str(mapped.column))
        if is_money(ours):
            return self._money(raw, family, mapped), None
        if isinstance(ours.type, DateTime):
            return _instant(raw, family, mapped)
        if mapped.values is not None:
            return _words(raw, family, mapped.values, ours)
        if isinstance(ours.type, String):
            return _text(raw, family)
        return _plain(raw, family, ours), None

    def _money(self, raw: Expression, family: Family | None, mapped: ColumnMapping) -> Expression:
        if mapped.unit == "minor":
            if self.as_is and family not in (None, Family.WHOLE):
                raise WarehouseError(
                    f"warehouse.yaml: tables.{self.name}.columns: must be given, as {mapped.column} is not in whole "
                    f"cents; found {family}"
                )
            return _whole(raw, family)
        return _minor(raw, family, self._factor(mapped))

    def _factor(self, mapped: ColumnMapping) -> Expression | int:
        """Return how many minor units make a major one, by the row's own currency where it has one."""
        own = self.columns.get("currency")
        code: Expression | None = None
        if mapped.currency is not None:
            return _units(mapped.currency)
        if mapped.currency_column is not None:
            code = self._raw(mapped.currency_column)[0]
        elif own is not None and own.constant is not None:
            return _units(str(own.constant))
        elif own is not None:
            code = self._reading(self.ours["currency"], own)[0]
        if code is None:
            return 100
        none = [one for one, places in EXPONENTS.items() if places == 0]
        three = [one for one, places in EXPONENTS.items() if places == 3]
        return case((code.in_(none), 1), (code.in_(three), 1000), else_=100)


def _units(currency: str) -> int:
    return int(10 ** EXPONENTS.get(currency, 2))


def _minor(raw: Expression, family: Family | None, factor: Expression | int) -> Expression:
    match family:
        case Family.WHOLE:
            return type_coerce(raw * factor, BigInteger)
        case Family.DECIMAL:
            exact = raw
        case Family.TEXT:
            exact = TextNumber(raw)
        case _:
            exact = ExactNumber(raw)
    return cast(func.round(exact * factor), BigInteger)


def _whole(raw: Expression, family: Family | None) -> Expression:
    match family:
        case Family.FLOAT:
            return cast(func.round(ExactNumber(raw)), BigInteger)
        case Family.DECIMAL:
            return cast(func.round(raw), BigInteger)
        case Family.TEXT:
            return cast(func.round(TextNumber(raw)), BigInteger)
    return type_coerce(raw, BigInteger)


def _instant(raw: Expression, family: Family | None, mapped: ColumnMapping) -> Reading:
    zone = mapped.zone or "UTC"
    if mapped.epoch:
        number = TextNumber(raw, "wide") if family is Family.TEXT else raw
        back = EpochBack(SCALE[mapped.epoch]) if family in (None, Family.WHOLE) else None
        return type_coerce(EpochTime(number, mapped.epoch), Instant(back)), raw if back else None
    if mapped.format and family in (None, Family.TEXT):
        return type_coerce(LocalTime(TextTime(raw, mapped.format), zone), Instant()), None
    if family is Family.TEXT:
        if mapped.zone:
            return type_coerce(LocalTime(IsoTime(raw, "local"), zone), Instant()), None
        return type_coerce(IsoTime(raw, "aware"), Instant()), None
    if family is Family.DATE:
        moment = cast(raw, DateTime(timezone=False))
        return type_coerce(LocalTime(moment, zone), Instant(LocalBack(False))), type_coerce(raw, DateTime)
    if family is Family.NAIVE or (family is None and mapped.zone):
        return type_coerce(LocalTime(raw, zone), Instant(LocalBack(zone == "UTC"))), type_coerce(raw, DateTime)
    return type_coerce(raw, Instant()), None


def _words(raw: Expression, family: Family | None, values: Map[Any, Any], ours: Column[Any]) -> Reading:
    theirs = {one: meant for word, meant in values.items() for one in _spellings(family, word)}
    said = case(*((raw == word, literal(meant, ours.type)) for word, meant in theirs.items()))
    if not isinstance(ours.type, String):
        return type_coerce(said, ours.type), None
    meanings: dict[str, tuple[Any, ...]] = {}
    for word, meant in theirs.items():
        meanings[str(meant)] = (*meanings.get(str(meant), ()), word)
    return type_coerce(said, Word(WordsBack(tuple(meanings.items())))), raw


def _spellings(family: Family | None, word: Any) -> list[Any]:
    # YAML reads an unquoted yes as true; in a column of words it means the words that YAML takes for it.
    if isinstance(word, bool) and family is Family.TEXT:
        plain = ("true", "yes", "on", "y", "t") if word else ("false", "no", "off", "n", "f")
        return [said for one in plain for said in (one, one.capitalize(), one.upper())]
    return [_as(family, word)]


def _as(family: Family | None, word: Any) -> Any:
    """Return a word of the mapping as the shop's column keeps it: 1 is "1" in a text column."""
    if family is Family.TEXT and not isinstance(word, str):
        return str(word).lower() if isinstance(word, bool) else str(word)
    if family in (Family.WHOLE, Family.FLOAT, Family.DECIMAL) and isinstance(word, str):
        try:
            return int(word)
        except ValueError:
            return word
    return word


def _text(raw: Expression, family: Family | None) -> Reading:
    match family:
        case None | Family.TEXT:
            return type_coerce(raw, Word()), None
        case Family.WHOLE:
            return type_coerce(cast(raw, String), Word(NumberBack())), raw
        case Family.FLOAT:
            return type_coerce(WholeText(raw), Word(NumberBack(largest=2**53, only_whole=False))), raw
    return type_coerce(cast(raw, String), Word()), None


def _plain(raw: Expression, family: Family | None, ours: Column[Any]) -> Expression:
    if isinstance(ours.type, Boolean):
        match family:
            case Family.TEXT:
                return type_coerce(func.lower(raw).in_(["true", "t", "yes", "y", "1"]), Boolean)
            case Family.WHOLE | Family.FLOAT | Family.DECIMAL:
                return type_coerce(raw != 0, Boolean)
        return type_coerce(raw, Boolean)
    if isinstance(ours.type, Integer):
        return _whole(raw, family)
    return type_coerce(TextNumber(raw) if family is Family.TEXT else raw, ours.type)
