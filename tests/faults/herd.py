"""A shop with as many customers as are asked for, each of whom left a cart: written by DuckDB, not row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
from small_shop import NOON

ROWS = {
    "customers": """
        SELECT 'h' || n AS customer_id, 'h' || n || '@post.example' AS email, NULL::VARCHAR AS phone,
            'Herd' AS first_name, 'FI' AS country, 'Europe/Helsinki' AS zone, TIMESTAMPTZ '{before}' AS created_at
        FROM range({many}) AS all_of_them(n)
    """,
    "consents": """
        SELECT 'h' || n AS customer_id, 'email' AS channel, 'marketing' AS purpose, 'granted' AS status,
            TIMESTAMPTZ '{before}' AS occurred_at
        FROM range({many}) AS all_of_them(n)
    """,
    "product_events": """
        SELECT 'h' || n AS event_id, 'h' || n AS customer_id, 'added' AS kind, 'lamp' AS sku, 1::BIGINT AS quantity,
            12900::BIGINT AS price, 'EUR' AS currency, TIMESTAMPTZ '{added}' AS occurred_at,
            TIMESTAMPTZ '{added}' AS received_at
        FROM range({many}) AS all_of_them(n)
    """,
}


def herd_of(new_post: Callable[..., Any], database: str, many: int, **given: Any) -> Any:
    """Return a post on a database whose shop has so many customers, `h0` and on, due at noon."""
    post = new_post(database, customers=0, **given)
    made = duckdb.connect(config={"threads": 1})
    made.execute("SET TimeZone = 'UTC'")
    for name, rows in ROWS.items():
        path = post.shop.folder / "data" / f"{name}-1.parquet"
        have = {row[0] for row in made.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
        query = rows.format(many=many, before=NOON.replace(month=1), added=NOON.replace(hour=8, minute=30))
        kept = [row[0] for row in made.execute(f"DESCRIBE {query}").fetchall() if row[0] in have]
        herd = post.shop.folder / "data" / f"{name}-herd.parquet"
        missing = [f"NULL::{kind} AS {column}" for column, kind in _types(made, path) if column not in kept]
        made.execute(f"COPY (SELECT {', '.join([*kept, *missing])} FROM ({query})) TO '{herd}' (FORMAT parquet)")
    made.close()
    return post


def _types(made: Any, path: Any) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in made.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()]
