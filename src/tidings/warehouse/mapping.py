"""The model of ``warehouse.yaml``: where the shop keeps each logical table and what its own words mean in ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from sqlalchemy import Boolean, Column, DateTime, Integer, Numeric

from tidings.errors import DefinitionError
from tidings.fields import Duration, PositiveDuration
from tidings.warehouse import contract
from tidings.warehouse.tables import Tables

Kind = Literal["duckdb", "postgresql", "snowflake", "bigquery", "redshift", "databricks", "trino", "clickhouse"]
Scalar = str | int | float | bool
# The directives of strptime that every warehouse can follow.
DIRECTIVES = "YmdHMSfybBIp"
_CODE = re.compile(r"^[A-Z]{3}$")
VOCABULARY: dict[tuple[str, str], tuple[str, ...]] = {
    ("product_events", "kind"): contract.EVENT_KINDS,
    ("orders", "status"): contract.ORDER_STATUSES,
    ("consents", "status"): contract.CONSENT_STATUSES,
    ("consents", "channel"): ("email", "sms"),
    ("identities", "kind"): contract.IDENTITY_KINDS,
    ("prices", "kind"): contract.PRICE_KINDS,
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def is_money(column: Column[Any]) -> bool:
    """Return whether the contract keeps this column in minor units."""
    return bool(column.info.get("money"))


class ColumnMapping(_Part):
    """Where one of our columns comes from: one of the shop's columns, read in a stated way, or a constant."""

    column: str | None = Field(None, description="The shop's own column.")
    constant: Scalar | None = Field(None, description="The same value in every row.")
    values: dict[Scalar, Scalar] | None = Field(
        None, description="The shop's words and ours (`view: viewed`). A word that is not listed reads as missing."
    )
    epoch: Literal["s", "ms", "us"] | None = Field(
        None, description="A time kept as a number since 1970: seconds, milliseconds or microseconds."
    )
    format: str | None = Field(None, description='A time kept as text, as in "%d/%m/%Y %H:%M".')
    zone: str | None = Field(None, description="The zone of a time kept without one (default UTC).")
    unit: Literal["major", "minor"] | None = Field(
        None, description="Money in euros (`major`, the default) or cents (`minor`)."
    )
    currency: str | None = Field(None, description="The currency of this amount, if the table has no `currency`.")
    currency_column: str | None = Field(None, description="The shop's column with the currency of this amount.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError("must have either column or constant")
        if self.constant is not None and (self.values or self.epoch or self.format or self.zone):
            raise ValueError("constant goes with nothing else but unit")
        if self.epoch and (self.format or self.zone):
            raise ValueError("epoch goes with neither format nor zone (it is always UTC)")
        if self.values is not None and not self.values:
            raise ValueError("values must have at least one word")
        return self

    @model_validator(mode="after")
    def _is_readable(self) -> Self:
        if self.zone is not None:
            try:
                ZoneInfo(self.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f'zone must be a name such as "Europe/London"; found "{self.zone}"') from None
        if self.format is not None:
            found = re.findall(r"%(.)", self.format)
            wrong = [f"%{one}" for one in found if one not in DIRECTIVES]
            if wrong or not {"m", "d"} - set(found) <= {"m"} or "'" in self.format:
                allowed = " ".join(f"%{one}" for one in DIRECTIVES)
                raise ValueError(f'format must be made of {allowed}; found "{self.format}"')
        if self.currency is not None and not _CODE.match(self.currency):
            raise ValueError(f'currency must be a code such as "EUR"; found "{self.currency}"')
        return self


def _short_form(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


def _suits(table: str, column: Column[Any]) -> Any:
    """Return a validator: may this column of ours be read in this way?"""
    is_time, money = isinstance(column.type, DateTime), is_money(column)

    def check(found: ColumnMapping) -> ColumnMapping:
        if not is_time and (found.epoch or found.format or found.zone):
            raise ValueError("epoch, format and zone are for times only")
        if not money and (found.unit or found.currency or found.currency_column):
            raise ValueError("unit, currency and currency_column are for money only")
        if (is_time or money) and found.values:
            raise ValueError("values are for words, not for times or money")
        allowed = VOCABULARY.get((table, column.name))
        said = list(found.values.values()) if found.values else [found.constant] if found.constant is not None else []
        for word in said:
            if allowed and word not in allowed:
                raise ValueError(f'must be one of {", ".join(allowed)}; found "{word}"')
            _fits(word, column)
        return found

    return check


def _fits(word: Scalar, column: Column[Any]) -> None:
    kind = column.type
    if isinstance(kind, Boolean) and not isinstance(word, bool):
        raise ValueError(f'must be true or false; found "{word}"')
    if isinstance(kind, Integer | Numeric) and (isinstance(word, bool) or not isinstance(word, int | float)):
        raise ValueError(f'must be a number; found "{word}"')
    if isinstance(kind, DateTime):
        raise ValueError("a time cannot be constant")
    if column.name == "currency" and not _CODE.match(str(word)):
        raise ValueError(f'must be a currency code such as "EUR"; found "{word}"')


class Watermark(_Part):
    """How far a table is loaded: its newest row, a line in a load log, or the answer to a query."""

    column: str | None = Field(None, description="One of our time columns of this table, or, with `table`, theirs.")
    table: str | None = Field(None, description="A load log of the shop's.")
    where: dict[str, Scalar] = Field(default_factory=dict, description="Which lines of the load log count.")
    query: str | None = Field(None, description="One SELECT with one time as its answer.")

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if (self.query is None) == (self.column is None):
            raise ValueError("must have either column or query")
        if self.query is not None and (self.table or self.where):
            raise ValueError("query goes with nothing else")
        if self.where and not self.table:
            raise ValueError("where needs table")
        return self


class TableMapping(_Part):
    """Where the shop keeps one logical table."""

    table: str | None = Field(None, description="The shop's table or view, with its schema if it has one.")
    sql: str | None = Field(None, description="Or one SELECT that returns the rows.")
    where: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict, description="Only rows in which the shop's columns have these values."
    )
    watermark: Watermark | None = Field(None, description="How far the table is loaded.")
    freshness: PositiveDuration | None = Field(
        None, description="How far the watermark may lie behind before campaigns that need the table wait."
    )
    lateness: Duration = Field(timedelta(0), description="How late a row may arrive after the watermark passed it.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.table is not None and self.sql is not None:
            raise ValueError("must have either table or sql, not both")
        if self.freshness is not None and self.watermark is None:
            raise ValueError("freshness needs a watermark")
        return self

    def given(self, name: str) -> dict[str, ColumnMapping] | None:
        """Return our columns that are mapped; None when the table already has our names and units."""
        columns = getattr(self, "columns", None)
        if columns is None:
            return None
        found = {column: getattr(columns, column) for column in contract.contract.tables[name].c.keys()}  # noqa: SIM118
        return {column: mapping for column, mapping in found.items() if mapping is not None}


class FileSource(_Part):
    """Files that read as one table: Parquet or CSV, a path or a pattern below the project folder."""

    parquet: str | None = None
    csv: str | None = None
    header: bool = Field(True, description="Whether a CSV begins with a line of column names.")
    columns: list[str] | None = Field(None, description="The column names of a CSV without a header line.")
    delimiter: str = Field(",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.parquet is None) == (self.csv is None):
            raise ValueError("must have either parquet or csv")
        if self.csv is not None and not self.header and not self.columns:
            raise ValueError("a csv without a header needs columns, the names in order")
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns must differ from each other")
        return self

    @property
    def pattern(self) -> str:
        """The path or pattern, as written."""
        return self.parquet or self.csv or ""


def _file_short_form(value: object) -> object:
    if not isinstance(value, str):
        return value
    return {"csv" if re.search(r"\.(csv|tsv|txt)(\.(gz|zst))?$", value) else "parquet": value}


def _view_name(name: str) -> str:
    if not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", name):
        raise ValueError(f'must be a simple name; found "{name}"')
    return name


class Database(_Part):
    """The shop's warehouse: a DuckDB file, files read by DuckDB, or a server reached by a named connection."""

    kind: Kind
    path: str | None = Field(None, description="A DuckDB file, relative to the project folder; opened read-only.")
    files: dict[
        Annotated[str, AfterValidator(_view_name)], Annotated[FileSource, BeforeValidator(_file_short_form)]
    ] = Field(default_factory=dict, description="Tables over Parquet or CSV files, by name.")
    connection: str | None = Field(None, description="The name of the connection that holds address and password.")
    statement_timeout: PositiveDuration = Field(timedelta(minutes=10), description="The longest one query may take.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.kind != "duckdb" and (self.path or self.files):
            raise ValueError("path and files are for kind duckdb only")
        if self.kind == "duckdb" and (self.path is None) == (not self.files):
            raise ValueError("kind duckdb needs either path or files")
        if self.kind == "duckdb" and self.connection:
            raise ValueError("kind duckdb needs path or files, not connection")
        if self.kind != "duckdb" and self.connection is None:
            raise ValueError(f'kind {self.kind} needs connection, such as "warehouse"')
        return self


def _table_model(name: str) -> type[TableMapping]:
    """Return the model of one logical table, so that a wrong column name is found like any unknown key."""
    columns: dict[str, Any] = {}
    for column in contract.contract.tables[name].c:
        one = Annotated[ColumnMapping, BeforeValidator(_short_form), AfterValidator(_suits(name, column))]
        columns[column.name] = (one | None, None) if column.nullable else (one, ...)
    model = create_model(f"{name}_columns", __base__=_Part, **columns)
    mapped: type[TableMapping] = create_model(
        f"{name}_table", __base__=TableMapping, columns=(model | None, Field(None, description="Our columns."))
    )
    return mapped


TABLE_MODELS = {name: _table_model(name) for name in contract.contract.tables}
_fields: dict[str, Any] = {name: (model | None, None) for name, model in TABLE_MODELS.items()}
_Tables: type[BaseModel] = create_model("tables", __base__=_Part, **_fields)


class Mapping(_Part):
    """The whole of ``warehouse.yaml``."""

    database: Database
    tables: _Tables

    def mapped(self) -> dict[str, TableMapping]:
        """Return the logical tables this shop has, in the contract's order."""
        found = {name: getattr(self.tables, name) for name in TABLE_MODELS}
        return {name: table for name, table in found.items() if table is not None}

    def freshness_of(self, name: str) -> timedelta:
        """Return how far the watermark of a table may lie behind; without a bound, any distance is fine."""
        table = self.mapped().get(name)
        return timedelta.max if table is None or table.freshness is None else table.freshness

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        wrong = [
            InitErrorDetails(type=PydanticCustomError("rule", "{rule}", {"rule": rule}), loc=place, input=found)
            for place, rule, found in self._contradictions()
        ]
        if wrong:
            raise ValidationError.from_exception_data("warehouse", wrong)
        return self

    def _contradictions(self) -> Iterator[tuple[tuple[str, ...], str, str]]:
        from tidings.warehouse import select  # sqlglot takes a while to import

        for name, table in self.mapped().items():
            mark = table.watermark
            queries = {("sql",): table.sql, ("watermark", "query"): mark.query if mark else None}
            for place, text in queries.items():
                if text is not None and (objection := select.objection(text, self.database.kind)):
                    yield ("tables", name, *place), objection, text
            if mark is not None and mark.column is not None and mark.table is None:
                given = table.given(name)
                times = [one.name for one in contract.contract.tables[name].c if isinstance(one.type, DateTime)]
                allowed = times if given is None else [one for one in times if one in given]
                if mark.column not in allowed:
                    place = ("tables", name, "watermark", "column")
                    yield place, f'must be one of {", ".join(allowed)}; found "{mark.column}"', mark.column


class _Words(yaml.SafeLoader):
    """Reads yes, no, on and off as the words they are: they are a shop's own values as often as not."""


_Words.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str) -> Any:
    """Return the content of a ``warehouse.yaml``; raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Words)


def load(path: Path) -> Mapping:
    """Return the mapping in a file. Raises pydantic's ValidationError with every mistake, or DefinitionError."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f"{path.name}:{place.line + 1}" if place else path.name
        raise DefinitionError(f"{where}: is not YAML: {getattr(error, 'problem', None) or error}") from None
    return Mapping.model_validate(content)


def tables(mapping: Mapping, dialect: str = "", shapes: dict[str, Any] | None = None) -> Tables:
    """Return their tables as selectables under our names; see `mapped.tables`."""
    from tidings.warehouse import mapped

    return mapped.tables(mapping, dialect, shapes)
