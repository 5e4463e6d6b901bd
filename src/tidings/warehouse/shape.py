"""What the shop's tables really look like: the family of every column's type, so that nothing is cast in vain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import types


class Family(StrEnum):
    """What kind of values a column holds, as far as reading it is concerned."""

    TEXT = "text"
    WHOLE = "whole number"
    FLOAT = "floating-point number"
    DECIMAL = "decimal number"
    AWARE = "time with zone"
    NAIVE = "time without zone"
    DATE = "date"
    BOOLEAN = "true or false"
    OTHER = "other"


# The shop's column name -> its family. An unknown shape (None) is taken to be what the mapping says it is.
Shape = Mapping[str, Family]

_NAMES: tuple[tuple[str, Family], ...] = (
    (r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|INT\d*|INT|OID)", Family.WHOLE),
    (r"(VARCHAR.*|TEXT|BPCHAR|CHAR.*|NAME|STRING|CITEXT)", Family.TEXT),
    (r"(DOUBLE.*|FLOAT\d*|REAL)", Family.FLOAT),
    (r"(DECIMAL.*|NUMERIC.*)", Family.DECIMAL),
    (r"(TIMESTAMP WITH TIME ZONE|TIMESTAMPTZ)", Family.AWARE),
    (r"(TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS|DATETIME|TIMESTAMP WITHOUT TIME ZONE)", Family.NAIVE),
    (r"DATE", Family.DATE),
    (r"(BOOLEAN|BOOL)", Family.BOOLEAN),
)


def family(name: str) -> Family:
    """Return the family of a type by the name that DuckDB or PostgreSQL gives it."""
    for pattern, found in _NAMES:
        if re.fullmatch(pattern, name.upper()):
            return found
    return Family.OTHER


def family_of(kind: types.TypeEngine[Any]) -> Family:
    """Return the family of a type as SQLAlchemy's inspector reports it."""
    match kind:
        case types.Boolean():
            return Family.BOOLEAN
        case types.Integer():
            return Family.WHOLE
        case types.Float():
            return Family.FLOAT
        case types.Numeric():
            return Family.DECIMAL
        case types.DateTime():
            return Family.AWARE if kind.timezone else Family.NAIVE
        case types.Date():
            return Family.DATE
        case types.String():
            return Family.TEXT
    return family(str(kind))
