"""A small project with one sent e-mail, one sent text and something still planned, behind the public web service."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from tidings.jobs.opening import Opened, ledger_url, open_project
from tidings.ledger import schema
from tidings.ledger.store import migrate
from tidings.plan.eligibility import address_hash
from tidings.sandbox.signing import Signer as SandboxSigner
from tidings.settings import EnvConnections
from tidings.web.public import public_app

SENT = datetime(2026, 11, 20, 9, tzinfo=UTC)
MAIL, TEXT, NEXT = "0a" * 16, "0b" * 16, "0c" * 16
PHONE = "+358401234567"
# c1 was c0 before; c2 reads the same mailbox and has no telephone.
_CUSTOMERS = [("c1", "ann@example.com", PHONE), ("c2", "ann@example.com", None)]
_CONSENTS = [
    (who, channel, purpose)
    for who in ("c0", "c2")
    for channel, purpose in (
        ("email", "marketing"), ("email", "back_in_stock"), ("sms", "marketing"), ("email", "click_tracking"),
    )
]  # fmt: skip
_YAML = """
shop: fenmark
brand: {name: Fenmark, legal_name: Fenmark Oy, postal_address: "Kajokatu 1, 00100 Helsinki, Finland",
        url: "https://fenmark.example", zone: Europe/Helsinki, currency: EUR, country: FI}
consent: {email: [marketing, back_in_stock]}
senders: {email: {from: hello@fenmark.example}, sms: {from: "+15550001111"}}
providers: {email: {name: sendgrid}, sms: {name: twilio}}
public_url: {base}
"""


@dataclass
class Shop:
    """The service and what stands behind it."""

    opened: Opened
    client: TestClient
    signs: SandboxSigner
    base: str

    def rows(self, table: Any) -> list[Any]:
        with self.opened.ledger.reading() as conn:
            return list(conn.execute(select(table)).mappings())

    def status(self, message_id: str) -> tuple[str, str | None]:
        (row,) = [row for row in self.rows(schema.messages) if row["id"] == message_id]
        return row["status"], row["reason"]

    def closed(self) -> set[tuple[str, str, str]]:
        found = self.rows(schema.suppressions)
        return {(row["subject"].partition(":")[0], row["channel"], row["reason"]) for row in found}

    def events(self, *events: dict[str, Any]) -> Any:
        body = json.dumps([{"timestamp": int(SENT.timestamp()) + 60, "d": MAIL, **event} for event in events]).encode()
        headers = self.signs.sendgrid(body, str(int(datetime.now(UTC).timestamp())))
        return self.client.post("/webhooks/sendgrid", content=body, headers=headers)

    def twilio(self, path: str, **form: str) -> Any:
        headers = self.signs.twilio(f"{self.base}{path}", form)
        return self.client.post(path, data=form, headers=headers)


def _message(message_id: str, channel: str, status: str, hashed: str) -> dict[str, Any]:
    return {
        "id": message_id, "entry_id": f"e{message_id}"[:32], "space": "live", "campaign": "cart", "step": "one",
        "step_no": 0, "channel": channel, "customer_id": "c1", "address_hash": hashed, "shard": 0, "priority": 50,
        "held_out": False, "status": status, "send_at": SENT, "first_send_at": SENT,
        "expires_at": SENT + timedelta(days=30), "sending_at": SENT if status == "sent" else None,
        "sent_at": SENT if status == "sent" else None, "attempt": 0, "deferrals": 0,
    }  # fmt: skip


def _fill(opened: Opened) -> None:
    pepper = opened.secrets.pepper
    mail, phone = address_hash("ann@example.com", pepper), address_hash(PHONE, pepper)
    told = [
        _message(MAIL, "email", "sent", mail), _message(TEXT, "sms", "sent", phone),
        _message(NEXT, "email", "planned", mail), _message("0d" * 16, "sms", "planned", phone),
    ]  # fmt: skip
    with opened.ledger.writing() as conn:
        for one in told:
            conn.execute(insert(schema.entries).values(
                id=one["entry_id"], space="live", campaign="cart", entry_key=one["id"], customer_id="c1", sku="",
                anchor_at=SENT, entered_at=SENT, planned_at=SENT, arm="treated", variant="", seen="{}", run_id="r",
            ))  # fmt: skip
            conn.execute(insert(schema.messages).values(**one))
        urls = json.dumps(["https://fenmark.example/cart", "https://fenmark.example/lamp?utm_source=tidings"])
        conn.execute(insert(schema.receipts).values(message_id=MAIL, urls=urls, tracked=True))


def _warehouse(folder: Path) -> None:
    (folder / "data").mkdir()
    made = duckdb.connect(config={"threads": 1})
    made.execute("SET TimeZone = 'UTC'")
    rows = {
        "customers": ("(customer_id VARCHAR, email VARCHAR, phone VARCHAR, country VARCHAR, zone VARCHAR)",
                      [(*one, "FI", "Europe/Helsinki") for one in _CUSTOMERS]),
        "consents": ("(customer_id VARCHAR, channel VARCHAR, purpose VARCHAR, status VARCHAR, occurred_at TIMESTAMPTZ)",
                     [(*one, "granted", SENT - timedelta(days=90)) for one in _CONSENTS]),
        "identities": ("(alias VARCHAR, customer_id VARCHAR, kind VARCHAR, valid_from TIMESTAMPTZ)",
                       [("c0", "c1", "former", SENT - timedelta(days=50))]),
    }  # fmt: skip
    for name, (columns, given) in rows.items():
        made.execute(f"CREATE TABLE {name} {columns}")
        made.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(given[0]))})", given)
        made.execute(f"COPY {name} TO '{folder / 'data' / name}.parquet' (FORMAT parquet)")
    made.close()
    lines = "".join(f"  {name}: {{table: {name}}}\n" for name in rows)
    files = "".join(f"    {name}: data/{name}.parquet\n" for name in rows)
    (folder / "warehouse.yaml").write_text(f"database:\n  kind: duckdb\n  files:\n{files}tables:\n{lines}")


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """The public web service over a real ledger, each kind in turn."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}"
    yaml = _YAML.replace("{base}", base)
    if request.param == "postgresql":
        yaml += f'ledger: {{url: "{request.getfixturevalue("postgres_url")}"}}\n'
    (tmp_path / "tidings.yaml").write_text(yaml)
    _warehouse(tmp_path)
    connections = EnvConnections({})
    with open_project(tmp_path, connections) as opened:
        migrate(ledger_url(opened.project, connections))
        _fill(opened)
        signs = SandboxSigner(opened.secrets.twilio_auth_token or "", opened.secrets.sandbox_key)
        with TestClient(public_app(opened), base_url=base, follow_redirects=False) as client:
            yield Shop(opened, client, signs, base)
