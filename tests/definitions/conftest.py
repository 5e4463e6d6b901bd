"""A small good project, and a way to spoil one place of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FILES = {
    "tidings.yaml": """\
shop: fenmark
brand:
  name: Fenmark
  legal_name: Fenmark Oy
  postal_address: Kalevankatu 12, 00100 Helsinki, Finland
  url: https://fenmark.example
  zone: Europe/Helsinki
  currency: EUR
  country: FI
senders:
  email: {from: hello@fenmark.example}
  sms: {from: "+15005550006"}
providers:
  email: {name: sendgrid}
caps:
  - {channel: email, at_most: 1, per: 16h}
defaults:
  cooldown: 7d
  holdout: 10%
""",
    "warehouse.yaml": """\
database:
  kind: duckdb
  files: {clicks: events.parquet, sales: sales.parquet}
tables:
  product_events:
    table: clicks
    columns:
      customer_id: who
      kind: {column: what, values: {add: added, remove: removed}}
      sku: item
      occurred_at: at
      price: each
      currency: money
  orders:
    table: sales
    columns:
      order_id: number
      customer_id: who
      ordered_at: at
""",
    "triggers/cart.yaml": """\
id: cart
mode: live
detect:
  type: cart_abandonment
  idle: 1h
  minimum_value: {EUR: 20}
schedule: "*/15 * * * *"
steps:
  - name: reminder
    channel: email
    template: cart/reminder
  - name: last_chance
    after: 1d
    channel: sms
    template: cart/last_chance
send_window: {from: "09:00", to: "20:00"}
priority: 30
""",
    "triggers/win_back.yaml": """\
id: win_back
detect:
  type: win_back
  lapse: 90d
schedule: "0 7 * * *"
steps:
  - {name: hello, channel: email, template: win_back/hello}
cooldown: 90d
""",
    "message_templates/cart/reminder.mjml": "",
    "message_templates/cart/last_chance.sms": "",
    "message_templates/win_back/hello.mjml": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a small project without a mistake."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def spoil(project: Path) -> Callable[[str, str, str], Path]:
    """Call it with a file, the words to replace there and the words to put in their place."""

    def edit(file: str, old: str, new: str) -> Path:
        path = project / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return project

    return edit
