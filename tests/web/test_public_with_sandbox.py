"""What recipients do in the sandbox reaches the ledger through the public web service, over HTTP, in their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from tidings.channels.base import Envelope
from tidings.channels.sendgrid import SendGrid
from tidings.channels.twilio import Twilio
from tidings.content.links import Links
from tidings.ledger import schema
from tidings.model.people import Channel
from tidings.sandbox.acts import Act
from tidings.sandbox.api import Accounts
from tidings.sandbox.server import ACCOUNT_SID, Sandbox
from tidings.web.public import public_app

MAIL, TEXT, NEXT = "0a" * 16, "0b" * 16, "0c" * 16
LATER = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.fixture
def sandbox(shop: Any) -> Iterator[Sandbox]:
    """A sandbox that signs with the shop's keys and posts to its running service, with both messages accepted."""
    config = uvicorn.Config(
        public_app(shop.opened), host="127.0.0.1", port=urlsplit(shop.base).port or 0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    secrets = shop.opened.secrets
    accounts = Accounts(ACCOUNT_SID, secrets.twilio_auth_token or "")
    with Sandbox(public_url=shop.base, accounts=accounts, signing_key=secrets.sandbox_key) as running:
        while not server.started:
            threading.Event().wait(0.01)
        asyncio.run(send(shop, running))
        yield running
    server.should_exit = True
    thread.join()


async def send(shop: Any, sandbox: Sandbox) -> None:
    opened = shop.opened
    links = Links(opened.signer, shop.base, MAIL)
    href = links.to("https://fenmark.example/cart")
    mail = SendGrid("SG.key", base_url=sandbox.url)
    text = Twilio(
        ACCOUNT_SID, opened.secrets.twilio_auth_token or "", base_url=sandbox.url, callback=opened.status_callback
    )
    await mail.send(
        Envelope(
            MAIL, Channel.EMAIL, "ann@example.com", "hello@fenmark.example", subject="Your cart is saved",
            html=f'<a href="{href}">Return to your cart</a>', text="Hello",
            headers={"List-Unsubscribe": f"<{links.unsubscribe_url}>"},
        )
    )  # fmt: skip
    await text.send(Envelope(TEXT, Channel.SMS, "+358401234567", "+15550001111", text="Fenmark: saved. Stop: STOP"))
    await mail.close()
    await text.close()


def test_everything_recipients_do_is_written_down_in_their_time(shop: Any, sandbox: Sandbox) -> None:
    posted = sandbox.act([
        Act(MAIL, "deliver", LATER), Act(MAIL, "open", LATER), Act(MAIL, "click", LATER + timedelta(minutes=1)),
        Act(TEXT, "deliver", LATER), Act(MAIL, "scan", LATER),
    ])  # fmt: skip

    found = {(row["message_id"], row["kind"], row["machine"], row["at"]) for row in shop.rows(schema.engagements)}
    assert posted.failed == []
    assert found == {
        (MAIL, "delivered", False, LATER), (MAIL, "opened", False, LATER),
        (MAIL, "clicked", False, LATER + timedelta(minutes=1)), (MAIL, "clicked", True, LATER),
        (TEXT, "delivered", False, LATER),
    }  # fmt: skip


def test_stop_and_unsubscribe_are_obeyed(shop: Any, sandbox: Sandbox) -> None:
    posted = sandbox.act([Act(MAIL, "unsubscribe", LATER), Act(TEXT, "stop", LATER)])

    assert posted.failed == []
    assert shop.closed() == {("a", "email", "unsubscribed"), ("p", "email", "unsubscribed"), ("a", "sms", "stop")}
    assert [shop.status(one) for one in (NEXT, "0d" * 16)] == [("cancelled", "suppressed")] * 2
    assert {row["at"] for row in shop.rows(schema.suppressions)} == {LATER}


def test_the_sandbox_knows_our_message_id_of_a_text(sandbox: Sandbox) -> None:
    assert [message.message for message in sandbox.store.messages] == [MAIL, TEXT]
