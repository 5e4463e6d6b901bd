"""How a shop's times, numbers and ids become ours, in each warehouse's own words; what cannot be read is NULL."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Numeric, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

# Seconds since 1970 up to the end of the year 9999: what a plausible epoch time lies between.
LATEST_SECOND = 253402300799
SCALE = {"s": 1, "ms": 1_000, "us": 1_000_000}


class _Read(FunctionElement[Any]):
    """One reading of one column; ``options`` are written into the SQL as literals, so they are validated before."""

    # The options change the SQL, so they are part of the statement's cache key (bound values are not).
    _traverse_internals = [  # noqa: RUF012 (SQLAlchemy's own declaration)
        *FunctionElement._traverse_internals,
        ("said", InternalTraversal.dp_plain_obj),
    ]

    def __init__(self, source: ColumnElement[Any], *options: str) -> None:
        super().__init__(source)
        self.said = options


class EpochTime(_Read):
    """The instant of a number of seconds, milliseconds or microseconds since 1970."""

    name = "epoch_time"
    type = DateTime(timezone=True)
    inherit_cache = True


class LocalTime(_Read):
    """The instant of a wall-clock time in a zone. A time that occurs twice is read as the database reads it."""

    name = "local_time"
    type = DateTime(timezone=True)
    inherit_cache = True


class TextTime(_Read):
    """The wall-clock time that a text says, in a given format."""

    name = "text_time"
    type = DateTime(timezone=False)
    inherit_cache = True


class IsoTime(_Read):
    """The instant or, with the option "local", the wall-clock time that an ISO text says."""

    name = "iso_time"
    type = DateTime(timezone=True)
    inherit_cache = True


class TextNumber(_Read):
    """The number that a text says: a decimal for money or, with the option "wide", a float for large numbers."""

    name = "text_number"
    type = Numeric(18, 6)
    inherit_cache = True


class ExactNumber(_Read):
    """A floating-point number as the decimal it was meant to be (2.675, not 2.67499999...)."""

    name = "exact_number"
    type = Numeric(18, 6)
    inherit_cache = True


class WholeText(_Read):
    """The text of a floating-point number that stands for an id: 13085.0 is "13085"."""

    name = "whole_text"
    type = String()
    inherit_cache = True


def _name(compiler: SQLCompiler) -> str:
    # ClickHouse's own dialect calls itself clickhousedb.
    return compiler.dialect.name.removesuffix("db") if compiler.dialect.name != "duckdb" else "duckdb"


def _sql(element: _Read, compiler: SQLCompiler, **kw: Any) -> tuple[str, list[str]]:
    (source,) = element.clauses
    options = [compiler.render_literal_value(one, String()) for one in element.said]
    return compiler.process(source, **kw), options


def _guarded(x: str, unit: str, then: str) -> str:
    return f"CASE WHEN {x} BETWEEN 0 AND {LATEST_SECOND * SCALE[unit]} THEN {then} END"


@compiles(EpochTime)
def _epoch(element: EpochTime, compiler: SQLCompiler, **kw: Any) -> str:
    x, _ = _sql(element, compiler, **kw)
    unit = element.said[0]
    size = SCALE[unit]
    shapes = {
        "duckdb": "make_timestamptz(CAST({x} * {micro} AS BIGINT))",
        "postgresql": "to_timestamp({x} / {size}.0)" if size > 1 else "to_timestamp({x})",
        "redshift": "(TIMESTAMP 'epoch' + ({x} / {size}.0) * INTERVAL '1 second') AT TIME ZONE 'UTC'",
        "snowflake": "TO_TIMESTAMP_TZ(CAST({x} * {micro} AS BIGINT), 6)",
        "bigquery": "TIMESTAMP_MICROS(CAST({x} * {micro} AS INT64))",
        "databricks": "timestamp_micros(CAST({x} * {micro} AS BIGINT))",
        "trino": "from_unixtime_nanos(CAST({x} * {micro} AS BIGINT) * 1000)",
        "clickhouse": "fromUnixTimestamp64Micro(toInt64({x} * {micro}), 'UTC')",
    }
    shape = shapes.get(_name(compiler), shapes["postgresql"])
    return _guarded(x, unit, shape.format(x=x, size=size, micro=1_000_000 // size))


@compiles(LocalTime)
def _local(element: LocalTime, compiler: SQLCompiler, **kw: Any) -> str:
    x, (zone,) = _sql(element, compiler, **kw)
    if _name(compiler) == "duckdb" and element.said == ("UTC",):
        # A ninth of the time that AT TIME ZONE takes, which asks the zone's rules for every row.
        return f"make_timestamptz(epoch_us({x}))"
    shapes = {
        "snowflake": "TO_TIMESTAMP_TZ(CONVERT_TIMEZONE({zone}, 'UTC', {x}))",
        "bigquery": "TIMESTAMP({x}, {zone})",
        "databricks": "to_utc_timestamp({x}, {zone})",
        "trino": "with_timezone({x}, {zone})",
        "clickhouse": "parseDateTime64BestEffort(toString({x}), 6, {zone})",
    }
    return shapes.get(_name(compiler), "({x} AT TIME ZONE {zone})").format(x=x, zone=zone)


@compiles(TextNumber)
def _number(element: TextNumber, compiler: SQLCompiler, **kw: Any) -> str:
    x, _ = _sql(element, compiler, **kw)
    shapes = {
        "duckdb": ("TRY_CAST({x} AS DECIMAL(18, 6))", "TRY_CAST({x} AS DOUBLE)"),
        "databricks": ("TRY_CAST({x} AS DECIMAL(18, 6))", "TRY_CAST({x} AS DOUBLE)"),
        "trino": ("TRY_CAST({x} AS DECIMAL(18, 6))", "TRY_CAST({x} AS DOUBLE)"),
        "snowflake": ("TRY_TO_DECIMAL({x}, 18, 6)", "TRY_TO_DOUBLE({x})"),
        "bigquery": ("SAFE_CAST({x} AS NUMERIC)", "SAFE_CAST({x} AS FLOAT64)"),
        "clickhouse": ("toDecimal64OrNull({x}, 6)", "toFloat64OrNull({x})"),
    }
    wide = "wide" in element.said
    if _name(compiler) in shapes:
        return shapes[_name(compiler)][wide].format(x=x)
    digits, name = ("18", "DOUBLE PRECISION") if wide else ("12", "DECIMAL(18, 6)")
    guard = f"'^ *[-+]?[0-9]{{1,{digits}}}([.][0-9]{{1,30}})? *$'"
    return f"CASE WHEN {x} ~ {guard} THEN CAST({x} AS {name}) END"


@compiles(ExactNumber)
def _exact(element: ExactNumber, compiler: SQLCompiler, **kw: Any) -> str:
    x, _ = _sql(element, compiler, **kw)
    name = {"bigquery": "NUMERIC", "clickhouse": "Nullable(Decimal(18, 6))"}
    cast = f"CAST({x} AS {name.get(_name(compiler), 'DECIMAL(18, 6)')})"
    # Not a number and the infinities are prices of nothing.
    return f"CASE WHEN {x} > -1e12 AND {x} < 1e12 THEN {cast} END"


@compiles(WholeText)
def _whole(element: WholeText, compiler: SQLCompiler, **kw: Any) -> str:
    x, _ = _sql(element, compiler, **kw)
    text = compiler.dialect.type_compiler_instance.process(String())
    if _name(compiler) == "clickhouse":
        text = "Nullable(String)"
    whole = f"CAST(CAST({x} AS {compiler.dialect.type_compiler_instance.process(BigInteger())}) AS {text})"
    # NaN, which some writers use for a missing id, is no id.
    return (
        f"CASE WHEN {x} > -9e15 AND {x} < 9e15 AND {x} = floor({x}) THEN {whole} "
        f"ELSE NULLIF(lower(CAST({x} AS {text})), 'nan') END"
    )


# What PostgreSQL must see before it may convert: it has no conversion that answers NULL.
_DAY = (
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}([02468][048]|[13579][26])-02-29)"
)
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_OFFSET = " ?(Z|UTC|GMT|[-+][0-9]{2}(:?[0-9]{2})?)?"
ISO = f"^{_DAY}([ T]{_CLOCK}{_OFFSET})?$"
LOCAL_ISO = f"^{_DAY}([ T]{_CLOCK})?$"


@compiles(IsoTime)
def _iso(element: IsoTime, compiler: SQLCompiler, **kw: Any) -> str:
    x, _ = _sql(element, compiler, **kw)
    local = "local" in element.said
    shapes = {
        "duckdb": ("TRY_CAST({x} AS TIMESTAMP)", "TRY_CAST({x} AS TIMESTAMPTZ)"),
        "snowflake": ("TRY_TO_TIMESTAMP_NTZ({x})", "TRY_TO_TIMESTAMP_TZ({x})"),
        "bigquery": ("SAFE_CAST({x} AS DATETIME)", "SAFE_CAST({x} AS TIMESTAMP)"),
        "databricks": ("TRY_CAST({x} AS TIMESTAMP_NTZ)", "TRY_CAST({x} AS TIMESTAMP)"),
        "trino": ("TRY(CAST({x} AS TIMESTAMP(6)))", "TRY(CAST({x} AS TIMESTAMP(6) WITH TIME ZONE))"),
        "clickhouse": ("parseDateTime64BestEffortOrNull({x}, 6)", "parseDateTime64BestEffortOrNull({x}, 6, 'UTC')"),
    }
    if _name(compiler) in shapes:
        return shapes[_name(compiler)][0 if local else 1].format(x=x)
    guard = compiler.render_literal_value(LOCAL_ISO if local else ISO, String())
    return f"CASE WHEN {x} ~ {guard} THEN CAST({x} AS {'TIMESTAMP' if local else 'TIMESTAMPTZ'}) END"


# strptime's directives in the words of the others.
_ORACLE = {
    "Y": "YYYY", "m": "MM", "d": "DD", "H": "HH24", "M": "MI", "S": "SS", "f": "US", "y": "YY", "b": "Mon",
    "B": "Month", "I": "HH12", "p": "AM",
}  # fmt: skip
_SNOWFLAKE = {**_ORACLE, "f": "FF6", "B": "MMMM"}
_JAVA = {
    "Y": "yyyy", "m": "MM", "d": "dd", "H": "HH", "M": "mm", "S": "ss", "f": "SSSSSS", "y": "yy", "b": "MMM",
    "B": "MMMM", "I": "hh", "p": "a",
}  # fmt: skip
_MYSQL = {one: f"%{one}" for one in "YmdHSfybIp"} | {"M": "%i", "B": "%M"}
_PATTERN = {
    "Y": "([0-9]{4})", "m": "(0[1-9]|1[0-2])", "d": "(0[1-9]|[12][0-9]|3[01])", "H": "([01][0-9]|2[0-3])",
    "M": "([0-5][0-9])", "S": "([0-5][0-9])", "f": "([0-9]{1,6})", "y": "([0-9]{2})", "b": "([A-Za-z]{3})",
    "B": "([A-Za-z]+)", "I": "(0[1-9]|1[0-2])", "p": "([AaPp][Mm])",
}  # fmt: skip


def _translated(form: str, words: dict[str, str], quote: str = "") -> str:
    """Return a strptime format in another database's words; ``quote`` surrounds letters that mean themselves."""
    parts = re.split(r"%(.)", form)
    plain = [re.sub(r"([A-Za-z]+)", rf"{quote}\1{quote}", part) if quote else part for part in parts[::2]]
    said = [words[one] for one in parts[1::2]]
    return "".join(text + word for text, word in zip(plain, [*said, ""], strict=True))


@compiles(TextTime)
def _text_time(element: TextTime, compiler: SQLCompiler, **kw: Any) -> str:
    x, (form,) = _sql(element, compiler, **kw)
    said = element.said[0]

    def literal(text: str) -> str:
        return str(compiler.render_literal_value(text, String()))

    match _name(compiler):
        case "duckdb":
            return f"try_strptime({x}, {form})"
        case "snowflake":
            return f"TRY_TO_TIMESTAMP_NTZ({x}, {literal(_translated(said, _SNOWFLAKE, chr(34)))})"
        case "bigquery":
            return f"SAFE.PARSE_DATETIME({literal(said.replace('%S.%f', '%E6S'))}, {x})"
        case "databricks":
            return f"to_timestamp_ntz({x}, {literal(_translated(said, _JAVA, chr(39)))})"
        case "trino":
            return f"TRY(date_parse({x}, {literal(_translated(said, _MYSQL))}))"
        case "clickhouse":
            return f"parseDateTimeOrNull({x}, {literal(_translated(said, _MYSQL))}, 'UTC')"
    return _postgres_text_time(x, said, literal)


def _postgres_text_time(x: str, said: str, literal: Any) -> str:
    if found := re.fullmatch(r"%Y-%m-%d([ T]%H:%M(?::%S(?:\.%f)?)?)?([^%]*)", said):
        # Already in ISO order: no need to take it apart.
        suffix = re.sub(r"([][.*+?^${}()|\\])", r"\\\1", found[2])
        clock = f"[ T]{_CLOCK}" if found[1] else ""
        size = 19 if said.startswith(("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")) and ".%f" not in said else None
        whole = f"substr({x}, 1, {size})" if size else f"substr({x}, 1, length({x}) - {len(found[2])})"
        return f"CASE WHEN {x} ~ {literal(f'^{_DAY}{clock}{suffix}$')} THEN CAST({whole} AS TIMESTAMP) END"
    parts = re.split(r"%(.)", said)
    escaped = [re.sub(r"([][.*+?^${}()|\\])", r"\\\1", part) for part in parts[::2]]
    pattern = "^" + "".join(
        text + group for text, group in zip(escaped, [*(_PATTERN[one] for one in parts[1::2]), ""], strict=True)
    ) + "$"  # fmt: skip
    order = {one: f"\\{place}" for place, one in enumerate(parts[1::2], start=1)}
    if set(order) & set("bBpIy") or not {"Y", "m", "d"} <= set(order):
        form = literal(_translated(said, _ORACLE, chr(34)))
        return f"CASE WHEN {x} ~ {literal(pattern)} THEN CAST(to_timestamp({x}, {form}) AS TIMESTAMP) END"
    # Put into ISO order first: its pattern knows how long each month is, to_timestamp would raise.
    clock = f"{order.get('H', '00')}:{order.get('M', '00')}:{order.get('S', '00')}"
    iso = f"{order['Y']}-{order['m']}-{order['d']} {clock}" + (f".{order['f']}" if "f" in order else "")
    moved = f"regexp_replace({x}, {literal(pattern)}, {literal(iso)})"
    return f"CASE WHEN {x} ~ {literal(pattern)} AND {moved} ~ {literal(LOCAL_ISO)} THEN CAST({moved} AS TIMESTAMP) END"
