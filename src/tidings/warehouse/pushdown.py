"""Filters that reach the shop's own column: comparing a mapped column with a value compares the raw one instead.

A filter on a converted column cannot use an index, a partition or a file's statistics. So a mapped table carries
the raw column beside the converted one, and these types translate the value back where that loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Boolean, ColumnElement, DateTime, String, and_, false, literal, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

RAW = "raw_"
_ORDER = {operators.ge, operators.gt, operators.le, operators.lt}
# No zone has ever been further from UTC; a filter on local time is widened by it and then checked exactly.
_WIDEST = timedelta(hours=16)
# What stands between many texts that are handed over as one; a text that holds it is handed over by itself.
_BETWEEN = "\x1f"
_MANY = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Raw = ColumnElement[Any]


class Backward(Protocol):
    """How a value of ours is looked for in the raw column; None when it cannot be."""

    def comparison(self, op: Callable[..., Any], value: Any, raw: Raw) -> Raw | None:
        """Return the condition on the raw column, exact unless ``widened``."""

    @property
    def widened(self) -> bool:
        """Whether the condition lets too much through and must be joined by the exact one."""


@dataclass(frozen=True, slots=True)
class EpochBack:
    """An instant as a whole number of units since 1970."""

    per_second: int
    widened: bool = False

    def comparison(self, op: Callable[..., Any], value: Any, raw: Raw) -> Raw | None:
        """Round towards the side on which no whole number is gained or lost."""
        if op not in _ORDER or not isinstance(value, datetime) or value.tzinfo is None:
            return None
        micro = (value - _EPOCH) // timedelta(microseconds=1)
        exact, rest = divmod(micro * self.per_second, 1_000_000)
        up = op in (operators.ge, operators.lt) and rest > 0
        return op(raw, exact + up)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class LocalBack:
    """An instant as a wall-clock time; exact in UTC, otherwise only near."""

    utc: bool

    @property
    def widened(self) -> bool:
        """Only UTC has no clock changes."""
        return not self.utc

    def comparison(self, op: Callable[..., Any], value: Any, raw: Raw) -> Raw | None:
        """Compare the raw time with the UTC wall clock, widened by the largest offset elsewhere."""
        if op not in _ORDER or not isinstance(value, datetime) or value.tzinfo is None:
            return None
        naive = value.astimezone(UTC).replace(tzinfo=None)
        if self.utc:
            return op(raw, naive)  # type: ignore[no-any-return]
        wide = -_WIDEST if op in (operators.ge, operators.gt) else _WIDEST
        return op(raw, naive + wide)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class WordsBack:
    """One of our words as the shop's words that mean it."""

    words: tuple[tuple[str, tuple[Any, ...]], ...]
    widened: bool = False

    def comparison(self, op: Callable[..., Any], value: Any, raw: Raw) -> Raw | None:
        """Look for every word of the shop's that means one of ours."""
        said = [value] if op is operators.eq else value
        meant = dict(self.words)
        return raw.in_([one for word in said for one in meant.get(word, ())])


@dataclass(frozen=True, slots=True)
class NumberBack:
    """An id that is a number in the shop; a text that is no such number finds nothing."""

    largest: int = 2**63 - 1
    only_whole: bool = True
    widened: bool = False

    def comparison(self, op: Callable[..., Any], value: Any, raw: Raw) -> Raw | None:
        """Look for the numbers among the ids, written as the database writes them; None if one might be told apart."""
        said = [value] if op is operators.eq else list(value)
        numbers = [int(one) for one in said if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", one)]
        if any(abs(one) > self.largest for one in numbers) or (not self.only_whole and len(numbers) < len(said)):
            return None
        return raw.in_(numbers) if numbers else false()


def _pushed(column: Any, backward: Backward, op: Callable[..., Any], values: tuple[Any, ...]) -> Raw | None:
    table = getattr(column, "table", None)
    raw = None if table is None else table.c.get(RAW + column.name)
    if raw is None:
        return None
    if op is operators.between_op and len(values) >= 2:
        parts = [backward.comparison(operators.ge, values[0], raw), backward.comparison(operators.le, values[1], raw)]
        return None if None in parts else and_(*(part for part in parts if part is not None))
    return backward.comparison(op, values[0], raw) if values else None


class _TimeComparator(DateTime.Comparator[Any]):
    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        exact = super().operate(op, *other, **kwargs)
        backward = getattr(self.type, "backward", None)
        if backward is None or op not in {*_ORDER, operators.between_op}:
            return exact
        pushed = _pushed(self.expr, backward, op, other)
        if pushed is None:
            return exact
        return and_(pushed, exact) if backward.widened else pushed


class Instant(DateTime):
    """An aware UTC instant; ``backward`` says how the raw column keeps it."""

    comparator_factory = _TimeComparator

    def __init__(self, backward: Backward | None = None) -> None:
        super().__init__(timezone=True)
        self.backward = backward

    def column_expression(self, colexpr: ColumnElement[Any]) -> ColumnElement[Any]:
        """Hand instants over in the form in which the driver is fastest."""
        return type_coerce(_Handed(colexpr), self)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """Return an aware UTC datetime for whatever form the driver hands over."""
        return _aware


class _Handed(FunctionElement[datetime]):
    """An instant on its way out of the database."""

    name = "handed"
    inherit_cache = True


@compiles(_Handed)
def _as_it_is(element: _Handed, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(next(iter(element.clauses)), **kw)


@compiles(_Handed, "duckdb")
def _as_microseconds(element: _Handed, compiler: SQLCompiler, **kw: Any) -> str:
    # DuckDB's own conversion of an aware time asks pytz for every value: ten times as slow.
    return f"epoch_us({compiler.process(next(iter(element.clauses)), **kw)})"


def _aware(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value)
    found: datetime = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class _TextComparator(String.Comparator[Any]):
    def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
        exact = super().operate(op, *other, **kwargs)
        if not other:
            return exact
        found = other[0]
        one = op is operators.eq and isinstance(found, str)
        many = op is operators.in_op and isinstance(found, Collection) and not isinstance(found, str)
        if not one and not (many and all(isinstance(word, str) for word in found)):
            return exact
        backward = getattr(self.type, "backward", None)
        pushed = None if backward is None else _pushed(self.expr, backward, op, (found,))
        if pushed is not None:
            return pushed
        return among(exact, found) if many else exact


class _Among(FunctionElement[bool]):
    """A column among many texts: an IN, and the same texts as one bound value."""

    name = "among"
    type = Boolean()
    inherit_cache = True


def among(exact: ColumnElement[bool], words: Iterable[str]) -> ColumnElement[bool]:
    """Return an IN over texts so that a database which takes long over thousands of bound values is given one."""
    listed = list(words)
    if len(listed) < _MANY or any(_BETWEEN in word for word in listed):
        return exact
    return _Among(exact, literal(_BETWEEN.join(listed), String))


@compiles(_Among)
def _as_bound_values(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(next(iter(element.clauses)), **kw)


@compiles(_Among, "duckdb")
def _as_one_text(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    # Two thousand values take DuckDB 10 ms to bind and compare; one text, split and joined, a fifth of that.
    exact, joined = element.clauses
    column: Any = exact
    left, right = compiler.process(column.left, **kw), compiler.process(joined, **kw)
    return f"({left} IN (SELECT unnest(string_split({right}, chr({ord(_BETWEEN)})))))"


class Word(String):
    """A text of ours; ``backward`` says how the raw column keeps it."""

    comparator_factory = _TextComparator

    def __init__(self, backward: Backward | None = None) -> None:
        super().__init__()
        self.backward = backward
