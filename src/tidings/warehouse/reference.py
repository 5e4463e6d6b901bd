"""The reference part of docs/warehouse.md, printed from the contract and the mapping's model so that it cannot rot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Boolean, Column, DateTime, Integer, Numeric

from tidings.warehouse.contract import contract
from tidings.warehouse.mapping import (
    TABLE_MODELS,
    VOCABULARY,
    ColumnMapping,
    Database,
    FileSource,
    TableMapping,
    Watermark,
    is_money,
)

_MEANING = {
    "customers": "The people, one row each.",
    "consents": "What a person allowed or took back, one row a statement; unknown means no.",
    "product_events": "What visitors did with products: the click stream.",
    "products": "The catalogue, one row a sku (what one buys); `product_id` is the parent of its sizes and colours.",
    "prices": "The price book: what a sku cost, from `valid_from` up to, but not including, `valid_to`.",
    "stock": "Counts of a sku at a place; the last one before a moment holds.",
    "stock_requests": '"Tell me when it is back."',
    "wishlist": "What people saved for later.",
    "orders": "Orders, guests' too (no `customer_id`, but an `email`).",
    "order_items": "The lines of the orders.",
    "refunds": "Money given back, one row a line.",
    "deliveries": "When an order arrived.",
    "identities": "Former ids (`former`) and devices (`anonymous`) and whose they are.",
    "loyalty": "Tiers and points, one row a change.",
}


def reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for title, model in (
        ("`database:`", Database), ("One entry of `database.files:`", FileSource), ("A table", TableMapping),
        ("A column", ColumnMapping), ("`watermark:`", Watermark),
    ):  # fmt: skip
        yield from (f"### {title}", "", "| key | meaning |", "|---|---|", *_keys(model), "")
    yield from ("### The logical tables", "")
    for name in TABLE_MODELS:
        yield from (f"#### `{name}`", "", _MEANING[name], "", "| column | is | needed |", "|---|---|---|")
        yield from (_row(name, column) for column in contract.tables[name].c)
        yield ""


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"| `{name}` | {field.description or _OTHERS[name]} |"


_OTHERS = {
    "kind": "`duckdb`, `postgresql`, `snowflake`, `bigquery`, `redshift`, `databricks`, `trino` or `clickhouse`.",
    "parquet": "A path or a pattern, such as `events/*.parquet`.",
    "csv": "A path or a pattern, such as `events.csv.gz`; every column of a CSV is text until the mapping says more.",
    "delimiter": "What stands between the fields of a CSV (default a comma).",
}


def _row(table: str, column: Column[Any]) -> str:
    words = VOCABULARY.get((table, column.name))
    said = f": {', '.join(f'`{word}`' for word in words)}" if words else ""
    return f"| `{column.name}` | {_kind(column)}{said} | {'yes' if not column.nullable else ''} |"


def _kind(column: Column[Any]) -> str:
    if is_money(column):
        return "money"
    match column.type:
        case DateTime():
            return "time"
        case Boolean():
            return "true or false"
        case Integer() | Numeric():
            return "number"
    return "text"
