"""A whole small shop in a folder: a DuckDB warehouse over Parquet files that a test fills, a ledger, a sandbox."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import BigInteger, Boolean, DateTime, Integer, Numeric, select

from tidings.jobs import dispatch, plan
from tidings.jobs.opening import Opened, open_project
from tidings.ledger import schema
from tidings.ledger.store import migrate
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN
from tidings.settings import EnvConnections
from tidings.warehouse.contract import contract

NOON = datetime(2026, 3, 3, 10, tzinfo=UTC)  # a Tuesday, 12:00 in Helsinki
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

SHOP = """\
shop: fenmark
brand: {{name: Fenmark, legal_name: Fenmark Oy, postal_address: "Kajokatu 1, 00100 Helsinki, Finland",
        url: "https://fenmark.example", zone: Europe/Helsinki, currency: EUR, country: FI}}
public_url: http://127.0.0.1:8090
ledger: {{connection: ledger}}
senders: {{email: {{from: hello@fenmark.example}}, sms: {{from: "+15005550006"}}}}
"""
PROVIDERS = """\
providers:
  email: {{name: sendgrid, base_url: "{url}", connections: {connections}}}
  sms: {{name: twilio, base_url: "{url}", connections: {connections}}}
"""
CART = """\
id: {id}
mode: live
detect: {{type: cart_abandonment, idle: 1h}}
schedule: "*/15 * * * *"
steps:
  - {{name: reminder, channel: email, template: cart/reminder, expires_after: 24h}}
holdout: 0%
"""
LAYOUT = """\
<mjml lang="{{ language }}"><mj-head><mj-title>{{ subject }}</mj-title>
<mj-preview>{{ preheader }}</mj-preview></mj-head>
<mj-body>{% block body %}{% endblock %}
<mj-section><mj-column><mj-text>{{ brand.postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
LETTER = """\
{% extends "_layouts/small.mjml" %}
{% block subject %}Your cart is saved{% endblock %}{% block preheader %}Carry on{% endblock %}
{% block body %}<mj-section><mj-column><mj-text><h1>Your cart</h1>
{% for item in items %}<a href="{{ item.url | tracked }}">{{ item.name }}</a>{% endfor %}
</mj-text></mj-column></mj-section>{% endblock %}
"""
TEXT = "{{ brand.name }}: your cart is saved. {{ link(brand.url) }}\n{{ opt_out }}\n"

TABLES = (
    "customers", "consents", "product_events", "products", "prices", "stock", "orders", "order_items", "identities",
)  # fmt: skip


def _column_type(kind: Any) -> str:
    if isinstance(kind, Boolean):
        return "BOOLEAN"
    if isinstance(kind, BigInteger | Integer):
        return "BIGINT"
    if isinstance(kind, Numeric):
        return "DECIMAL(12, 2)"
    return "TIMESTAMPTZ" if isinstance(kind, DateTime) else "VARCHAR"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value)
    quoted = str(value).replace("'", "''").replace("\0", "' || chr(0) || '")
    return f"'{quoted}'"


@dataclass
class SmallShop:
    """The folder of a project with its environment. Rows are added by ``add`` and seen after ``load``."""

    folder: Path
    environ: dict[str, str]
    told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _waiting: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _loads: Any = field(default_factory=lambda: itertools.count(1))
    _orders: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, table: str, **row: Any) -> None:
        """Note a row of the shop's own table."""
        self._waiting.setdefault(table, []).append(row)
        self.told.setdefault(table, []).append(row)

    def load(self) -> None:
        """Write what was added as one more file of each table, as a shop's loader does."""
        number = next(self._loads)
        made = duckdb.connect(config={"threads": 1})
        made.execute("SET TimeZone = 'UTC'")
        for name in TABLES if number == 1 else list(self._waiting):
            columns = contract.tables[name].c
            typed = ", ".join(f"{column.name} {_column_type(column.type)}" for column in columns)
            made.execute(f"CREATE TABLE {name} ({typed})")
            rows = [[_literal(row.get(column.name)) for column in columns] for row in self._waiting.get(name, [])]
            if rows:
                made.execute(f"INSERT INTO {name} VALUES " + ", ".join(f"({', '.join(row)})" for row in rows))
            hidden = self.folder / "data" / f".{name}-{number}.parquet"
            made.execute(f"COPY {name} TO '{hidden}' (FORMAT parquet)")
            hidden.rename(hidden.with_name(hidden.name[1:]))
        made.close()
        self._waiting.clear()

    def customer(self, who: str, **given: Any) -> None:
        """Add a customer in Helsinki with an address, a number and permission for both channels."""
        digits = sum(ord(letter) * 31**place for place, letter in enumerate(who)) % 1_000_000
        values = {
            "email": f"{who}@post.example", "phone": f"+35850{digits:07d}", "first_name": who.title(),
            "country": "FI", "zone": "Europe/Helsinki", "created_at": NOON - 100 * DAY, **given,
        }  # fmt: skip
        self.add("customers", customer_id=who, **values)
        for channel in ("email", "sms"):
            self.consent(who, channel)

    def consent(
        self, who: str, channel: str = "email", status: str = "granted", at: datetime = NOON - 90 * DAY
    ) -> None:
        """Add what a customer said about being written to."""
        self.add(
            "consents", customer_id=who, channel=channel, purpose="marketing", status=status, occurred_at=at
        )  # fmt: skip

    def product(self, sku: str = "lamp", price: int = 12_900) -> None:
        """Add a product in stock at a price."""
        self.add(
            "products", sku=sku, product_id=f"p-{sku}", name=f"The {sku}", url=f"https://fenmark.example/{sku}",
            image=f"https://fenmark.example/{sku}.jpg", active=True,
        )  # fmt: skip
        self.add("prices", sku=sku, currency="EUR", amount=price, valid_from=NOON - 200 * DAY)
        self.add("stock", sku=sku, quantity=10, observed_at=NOON - 100 * DAY)

    def retire(self, sku: str) -> None:
        """Take a product off the shop: its loader writes the whole catalogue anew."""
        for file in (self.folder / "data").glob("products-*.parquet"):
            file.unlink()
        self._waiting["products"] = [{**row, "active": row["sku"] != sku} for row in self.told["products"]]

    def cart(self, who: str, sku: str = "lamp", at: datetime = NOON - 2 * HOUR) -> None:
        """Let a customer put something into a cart and leave."""
        self.add(
            "product_events", event_id=f"{who}-{sku}-{at.timestamp():.0f}", customer_id=who, kind="added", sku=sku,
            quantity=1, price=12_900, currency="EUR", occurred_at=at, received_at=at,
        )  # fmt: skip

    def order(self, who: str | None, at: datetime, **given: Any) -> None:
        """Let somebody buy."""
        order_id = f"o{next(self._orders)}-{at.timestamp():.0f}"
        values = {"order_id": order_id, "status": "completed", "total": 12_900, "currency": "EUR", **given}
        self.add("orders", customer_id=who, ordered_at=at, **values)

    def opened(self) -> Any:
        """Open the project as every job does; a context manager."""
        return open_project(self.folder, EnvConnections(self.environ))


def lay_out(
    folder: Path,
    *,
    ledger_url: str,
    sandbox_url: str | None = None,
    settings: str = "",
    campaigns: Mapping[str, str] | None = None,
    mapping: Mapping[str, str] | None = None,
    connections: int = 10,
    known: Sequence[str] = TABLES,
) -> SmallShop:
    """Make a project folder with an empty warehouse and a migrated ledger.

    ``settings`` is appended to tidings.yaml, ``campaigns`` are files by name, ``mapping`` says more about a table;
    ``known`` are the tables that the shop maps at all.
    """
    for part in ("triggers", "data", "message_templates/_layouts", "message_templates/cart"):
        (folder / part).mkdir(parents=True)
    providers = PROVIDERS.format(url=sandbox_url, connections=connections) if sandbox_url else ""
    (folder / "tidings.yaml").write_text(SHOP.format() + providers + settings)
    files = "\n".join(f"    {name}: data/{name}-*.parquet" for name in known)
    tables = "\n".join(f"  {name}: {(mapping or {}).get(name, '{}')}" for name in known)
    (folder / "warehouse.yaml").write_text(f"database:\n  kind: duckdb\n  files:\n{files}\ntables:\n{tables}\n")
    for name, text in (campaigns or {"cart": CART.format(id="cart")}).items():
        (folder / f"triggers/{name}.yaml").write_text(text)
    (folder / "message_templates/_layouts/small.mjml").write_text(LAYOUT)
    (folder / "message_templates/cart/reminder.mjml").write_text(LETTER)
    (folder / "message_templates/cart/text.sms").write_text(TEXT)
    _migrate(ledger_url)
    environ = {
        "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "generic", "extra": {"sqlalchemy_url": ledger_url}}),
        "AIRFLOW_CONN_SENDGRID": json.dumps({"conn_type": "tidings_sendgrid", "password": "SG.small"}),
        "AIRFLOW_CONN_TWILIO": json.dumps(
            {"conn_type": "tidings_twilio", "login": ACCOUNT_SID, "password": AUTH_TOKEN}
        ),
    }  # fmt: skip
    return SmallShop(folder, environ)


_migrated: dict[str, bytes] = {}


def _migrate(url: str) -> None:
    """Make the ledger's tables; of SQLite files only the first is really made, the others are its copies."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite") and _migrated:
        path.write_bytes(_migrated["sqlite"])
        return
    migrate(url)
    if url.startswith("sqlite"):
        _migrated["sqlite"] = path.read_bytes()


@dataclass
class Day:
    """An opened shop whose clock a test turns."""

    shop: SmallShop
    opened: Opened

    def plan(self, at: datetime, campaign: str = "cart", **given: Any) -> plan.PlanCounts:
        """Plan one campaign as of a moment."""
        return plan.run(self.opened, campaign, now=at, as_of=at, **given)

    def dispatch(self, at: datetime, **given: Any) -> dispatch.DispatchCounts:
        """Send what is due at a moment; its counters must add up."""
        counts = dispatch.run(self.opened, now=at, **given)
        assert_add_up(counts)
        return counts

    def messages(self, **only: Any) -> list[Any]:
        """Return the ledger's messages, by customer and step."""
        m = schema.messages.c
        wanted = [m[name] == value for name, value in only.items()]
        with self.opened.ledger.reading() as conn:
            return list(
                conn.execute(select(schema.messages).where(*wanted).order_by(m.customer_id, m.step_no, m.campaign))
            )

    def statuses(self, **only: Any) -> dict[str, tuple[str, str | None]]:
        """Return status and reason of the messages, by customer (the last step's, when there are several)."""
        return {row.customer_id: (str(row.status), row.reason) for row in self.messages(**only)}

    def counted(self) -> Counter[str]:
        """Return how many messages stand in each status."""
        return Counter(str(row.status) for row in self.messages())


def assert_add_up(counts: dispatch.DispatchCounts) -> None:
    """Every claimed message has exactly one answer in a lane's counters."""
    ended = sum(counts.skipped.values()) + sum(counts.cancelled.values()) + counts.expired
    answers = (
        counts.sent + counts.held_out + counts.retried + counts.failed + counts.unknown + counts.deferred
        + counts.let_go + counts.lost + ended
    )  # fmt: skip
    assert counts.claimed == answers, counts
