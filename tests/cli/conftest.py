"""A small shop on this machine: two people with a cart, one who may be written to, and the default messages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tidings.cli import run

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)

SHOP = """\
shop: fenmark
brand:
  name: Fenmark
  legal_name: Fenmark Oy
  postal_address: Kalevankatu 12, 00100 Helsinki, Finland
  url: https://fenmark.example
  zone: Europe/Helsinki
  currency: EUR
  country: FI
public_url: https://t.fenmark.example
senders:
  email: {from: hello@fenmark.example}
  sms: {from: "+15005550006"}
allow_list: [me@fenmark.example]
"""
MAPPING = """\
database:
  kind: duckdb
  files:
    customers: data/customers.parquet
    consents: data/consents.parquet
    product_events: data/product_events.parquet
    products: data/products.parquet
    prices: data/prices.parquet
    orders: data/orders.parquet
tables: {customers: {}, consents: {}, product_events: {lateness: 6h}, products: {}, prices: {}, orders: {}}
"""
CART = """\
id: cart
mode: live
detect: {type: cart_abandonment, idle: 1h}
schedule: "*/15 * * * *"
steps:
  - {name: reminder, channel: email, template: cart_abandonment/reminder}
  - {name: last_chance, after: 1d, channel: sms, template: cart_abandonment/last_chance}
holdout: 0%
"""
WIN_BACK = """\
id: win_back
detect: {type: win_back, lapse: 90d}
schedule: "0 7 * * *"
steps:
  - {name: hello, channel: email, template: win_back/hello}
"""


def _tables(folder: Path) -> None:
    left = NOW - timedelta(hours=3)
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    rows = {
        "customers": "SELECT * FROM (VALUES "
        "('c1', 'ann@post.example', '+358401234567', 'Ann', 'FI', 'Europe/Helsinki'), "
        "('c2', 'bo@post.example', NULL, 'Bo', 'FI', 'Europe/Helsinki')) "
        "t(customer_id, email, phone, first_name, country, zone)",
        "consents": f"SELECT 'c1' AS customer_id, 'email' AS channel, 'marketing' AS purpose, 'granted' AS status, "
        f"TIMESTAMPTZ '{NOW - timedelta(days=100)}' AS occurred_at",
        "product_events": "SELECT * FROM (VALUES "
        f"('e1', 'c1', 'added', 'lamp', 1, 12900, 'EUR', TIMESTAMPTZ '{left}'), "
        f"('e2', 'c2', 'added', 'lamp', 1, 12900, 'EUR', TIMESTAMPTZ '{left}')) "
        "t(event_id, customer_id, kind, sku, quantity, price, currency, occurred_at)",
        "products": "SELECT 'lamp' AS sku, 'p1' AS product_id, 'Kajo lamp' AS name, "
        "'https://fenmark.example/kajo' AS url, true AS active",
        "prices": f"SELECT 'lamp' AS sku, 'EUR' AS currency, 12900 AS amount, "
        f"TIMESTAMPTZ '{NOW - timedelta(days=100)}' AS valid_from",
        "orders": f"SELECT 'o1' AS order_id, 'c3' AS customer_id, 5000 AS total, 'EUR' AS currency, "
        f"TIMESTAMPTZ '{NOW - timedelta(days=200)}' AS ordered_at",
    }
    (folder / "data").mkdir()
    for name, query in rows.items():
        made.execute(f"COPY ({query}) TO '{folder}/data/{name}.parquet' (FORMAT parquet)")
    made.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of a whole small project with data."""
    folder = tmp_path / "shop"
    (folder / "triggers").mkdir(parents=True)
    for part in ("_layouts", "cart_abandonment", "win_back"):
        shutil.copytree(ROOT / "message_templates" / part, folder / "message_templates" / part)
    for name, text in {
        "tidings.yaml": SHOP, "warehouse.yaml": MAPPING, "triggers/cart.yaml": CART, "triggers/win_back.yaml": WIN_BACK
    }.items():  # fmt: skip
        (folder / name).write_text(text, encoding="utf-8")
    _tables(folder)
    return folder


@pytest.fixture
def tidings(shop: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command on the shop in this process; return its exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([words[0], "--project", str(shop), *words[1:]])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def command(shop: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command in a process of its own, from the shop's folder."""
    program = Path(sys.executable).with_name("tidings")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], cwd=shop, capture_output=True, text=True, timeout=120, check=False)

    return call
