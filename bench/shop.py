"""A shop with so many left carts, as Parquet files and a project folder: what the dispatch benchmark sends about."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SKUS = 2_000

_TABLES = {
    "customers": """SELECT 'c' || i AS customer_id, 'c' || i || '@mail' || (i % 97) || '.example.com' AS email,
        'Ann' AS first_name, 'Other' AS last_name, 'en_GB' AS locale,
        CASE i % 3 WHEN 0 THEN 'FI' WHEN 1 THEN 'GB' ELSE 'DE' END AS country,
        CASE i % 3 WHEN 0 THEN 'Europe/Helsinki' WHEN 1 THEN 'Europe/London' ELSE NULL END AS zone
        FROM range({n}) r(i)""",
    "consents": """SELECT 'c' || i AS customer_id, 'email' AS channel, 'marketing' AS purpose, 'granted' AS status,
        TIMESTAMPTZ '{now}' - INTERVAL 30 DAY AS occurred_at FROM range({n}) r(i)""",
    "products": """SELECT 's' || i AS sku, 'p' || i // 4 AS product_id, 'Merino crew ' || i AS name,
        'https://shop.example.com/p/' || i AS url, 'https://img.example.com/' || i || '.jpg' AS image,
        'M' AS size, 'Navy' AS colour, true AS active FROM range({skus}) r(i)""",
    "prices": """SELECT 's' || i AS sku, 'EUR' AS currency, 'list' AS kind, 4900 + i AS amount,
        TIMESTAMPTZ '{now}' - INTERVAL 90 DAY AS valid_from FROM range({skus}) r(i)""",
    # Two products in each cart, left between one and three hours ago.
    "product_events": """SELECT 'e' || i || '-' || k AS event_id, 'c' || i AS customer_id, 'cart' || i AS cart_id,
        'added' AS kind, 's' || ((i * 7 + k * 13) % {skus}) AS sku, 1 AS quantity, 4900 AS price, 'EUR' AS currency,
        TIMESTAMPTZ '{now}' - to_seconds(3700 + (i * 37) % 7000) - to_minutes(CAST(k AS INTEGER)) AS occurred_at
        FROM range({n}) r(i), range(2) l(k)""",
    # Old orders only: nobody has bought since, but everybody is asked about.
    "orders": """SELECT 'o' || i AS order_id, 'c' || i AS customer_id, 'completed' AS status, 9900 AS total,
        'EUR' AS currency, TIMESTAMPTZ '{now}' - INTERVAL 40 DAY AS ordered_at FROM range({n}) r(i)""",
}

_SETTINGS = """shop: bench
production: false
brand: {{name: Bench, legal_name: Bench Oy, postal_address: "Kalevankatu 12, 00100 Helsinki, Finland",
  url: https://shop.example.com, zone: Europe/Helsinki, currency: EUR, locale: en, country: FI}}
public_url: http://127.0.0.1:8090
ledger: {{connection: ledger}}
senders:
  email: {{from: hello@news.bench.example, name: Bench}}
providers:
  email: {{name: sendgrid, connection: sendgrid, base_url: {sink}, connections: {connections}}}
caps:
  - {{channel: email, at_most: 1, per: 16h}}
  - {{at_most: 4, per: 7d}}
dispatch: {{lanes: {lanes}, batch: 4000}}
"""
_CAMPAIGN = """id: cart_abandonment
mode: live
detect: {type: cart_abandonment}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart_abandonment/reminder, expires_after: 24h}
send_window: {from: "09:00", to: "20:00"}
holdout: 0%
max_initial_audience: 100000000
"""


def lay_out(folder: Path, messages: int, connections: int) -> None:
    """Write a warehouse in which so many customers left a cart, and the files of a project over it."""
    (folder / "warehouse").mkdir(parents=True)
    (folder / "triggers").mkdir()
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for name, select in _TABLES.items():
            query = select.format(n=messages, skus=SKUS, now=NOW.isoformat())
            db.execute(f"COPY ({query}) TO '{folder / 'warehouse' / name}.parquet' (FORMAT parquet)")
    shutil.copytree(ROOT / "message_templates", folder / "message_templates")
    files = "\n".join(f"    {name}: warehouse/{name}.parquet" for name in _TABLES)
    tables = "\n".join(f"  {name}: {{table: {name}}}" for name in _TABLES)
    (folder / "warehouse.yaml").write_text(f"database:\n  kind: duckdb\n  files:\n{files}\ntables:\n{tables}\n")
    (folder / "triggers" / "cart_abandonment.yaml").write_text(_CAMPAIGN)
    point_at(folder, "http://127.0.0.1:1", connections)


def point_at(folder: Path, sink: str, connections: int, lanes: int = 1) -> None:
    """Let the project send to this address, each lane over so many connections."""
    (folder / "tidings.yaml").write_text(_SETTINGS.format(sink=sink, connections=connections, lanes=lanes))
