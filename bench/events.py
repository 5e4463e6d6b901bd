"""A shop's events by the million, made by DuckDB itself: the same seed gives the same shop, however large."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import StaticPool

END = datetime(2026, 3, 2, 12, tzinfo=UTC)
# A larger table is a longer history at the same pace, as in a shop that grows older.
EVENTS_A_DAY = 50_000
GAP = timedelta(days=1) / EVENTS_A_DAY
CUSTOMERS, SKUS = 200_000, 20_000

_EVENTS = """
CREATE TABLE product_events AS
SELECT 'e' || i AS event_id,
    -- Four events in a row belong to one visit; who visits, and what is looked at, is a hash.
    'c' || (hash(i // 40, i % 10) % {customers}) AS customer_id,
    CASE WHEN hash(i, 1) % 100 < 88 THEN 'viewed' WHEN hash(i, 1) % 100 < 96 THEN 'added'
        WHEN hash(i, 1) % 100 < 98 THEN 'removed' ELSE 'checkout_started' END AS kind,
    's' || (hash(i // 40, i % 10, (i % 40) // 20) % {skus}) AS sku,
    'p' || ((hash(i // 40, i % 10, (i % 40) // 20) % {skus}) // 4) AS product_id,
    CAST(1 AS INTEGER) AS quantity,
    CAST(1000 + hash(i // 40, i % 10, (i % 40) // 20) % {skus} AS BIGINT) AS price,
    'EUR' AS currency,
    TIMESTAMPTZ '{start}' + to_microseconds(CAST(i * {gap} AS BIGINT)) AS occurred_at
FROM range({events}) AS r(i)"""
_OTHERS = (
    """CREATE TABLE orders AS SELECT 'o' || row_number() OVER () AS order_id, customer_id, 'completed' AS status,
    price AS total, 'EUR' AS currency, occurred_at + INTERVAL 20 MINUTE AS ordered_at, sku
    FROM product_events WHERE kind = 'added' AND hash(event_id, 2) % 3 = 0""",
    "CREATE TABLE order_items AS SELECT order_id, sku, CAST(1 AS INTEGER) AS quantity, total AS amount FROM orders",
    """CREATE TABLE products AS SELECT 's' || i AS sku, 'p' || (i // 4) AS product_id, i % 50 <> 0 AS active
    FROM range({skus}) AS r(i)""",
    # One sku in twenty falls by a fifth in the last day, the others keep their price.
    """CREATE TABLE prices AS
    SELECT 's' || i AS sku, 'EUR' AS currency, 'list' AS kind, CAST(1000 + i AS BIGINT) AS amount,
        TIMESTAMPTZ '{start}' - INTERVAL 1 DAY AS valid_from FROM range({skus}) AS r(i)
    UNION ALL SELECT 's' || i, 'EUR', 'promo', CAST((1000 + i) * 8 // 10 AS BIGINT),
        TIMESTAMPTZ '{end}' - to_minutes(CAST(60 + hash(i, 4) % 1440 AS BIGINT)) FROM range(0, {skus}, 20) AS r(i)""",
    # One sku in twenty was out for a day and came back in the last one; the others were counted now and then.
    """CREATE TABLE stock AS
    SELECT 's' || i AS sku, 'main' AS location, CAST(5 + d AS INTEGER) AS quantity,
        TIMESTAMPTZ '{end}' - to_days(CAST(d + 2 AS INTEGER))
            - to_minutes(CAST(hash(i, d) % 1000 AS BIGINT)) AS observed_at
    FROM range({skus}) AS r(i), range(30) AS days(d)
    UNION ALL SELECT 's' || i, 'main', 0, TIMESTAMPTZ '{end}' - INTERVAL 44 HOUR FROM range(7, {skus}, 20) AS r(i)
    UNION ALL SELECT 's' || i, 'main', 9, TIMESTAMPTZ '{end}' - to_minutes(CAST(10 + hash(i, 6) % 1440 AS BIGINT))
    FROM range(7, {skus}, 20) AS r(i)""",
    """CREATE TABLE stock_requests AS SELECT 'r' || i AS request_id, 'c' || (hash(i, 7) % {customers}) AS customer_id,
    's' || (hash(i, 8) % {skus}) AS sku, TIMESTAMPTZ '{end}' - INTERVAL 40 HOUR AS requested_at
    FROM range({skus} * 5) AS r(i)""",
)


def shop(events: int, path: str = ":memory:") -> Engine:
    """Return a DuckDB shop with this many events, the last one at ``END``."""
    engine = create_engine(f"duckdb:///{path}", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def in_utc(connection: object, _: object) -> None:
        connection.execute("SET TimeZone = 'UTC'")  # type: ignore[attr-defined]

    given = {
        "events": events, "customers": CUSTOMERS, "skus": SKUS, "gap": GAP / timedelta(microseconds=1),
        "start": (END - GAP * events).isoformat(), "end": END.isoformat(),
    }  # fmt: skip
    with engine.begin() as conn:
        for statement in (_EVENTS, *_OTHERS):
            conn.exec_driver_sql(statement.format(**given))
    return engine
