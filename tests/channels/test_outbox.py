"""The outbox keeps what it is given, and a provider's name leads to its class."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from tidings.channels.base import Envelope
from tidings.channels.make import Account, provider
from tidings.channels.outbox import Outbox
from tidings.errors import DefinitionError
from tidings.model.people import Channel


def test_the_outbox_keeps_envelopes_and_sends_nothing(mail: Envelope) -> None:
    outbox = Outbox()

    assert asyncio.run(outbox.send(mail)) == f"outbox-{mail.message_id}"
    assert outbox.sent == [mail]


def test_the_outbox_file_holds_a_line_for_each_and_only_its_owner_reads_it(mail: Envelope, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "outbox.jsonl"
    outbox = Outbox(file=file)

    for _ in range(2):
        asyncio.run(outbox.send(mail))
    asyncio.run(outbox.close())

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["message_id"] for line in lines] == [mail.message_id] * 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "channel"), [("sendgrid", Channel.EMAIL), ("twilio", Channel.SMS), ("outbox", Channel.EMAIL)]
)
def test_a_name_is_one_provider(name: str, channel: Channel) -> None:
    made = provider(name, Account(login="AC" + "0" * 32, secret="s"))

    assert (made.name, made.channel) == (name, channel)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sendgird", 'provider: must be one of sendgrid, twilio, outbox; found "sendgird"'),
        ("twilio", "connection twilio: login, secret: must be set, found nothing"),
    ],
)
def test_a_mistake_is_one_line(name: str, told: str) -> None:
    with pytest.raises(DefinitionError) as mistake:
        provider(name, Account())

    assert str(mistake.value) == told


def test_an_account_tells_no_secret() -> None:
    assert "hush" not in repr(Account(secret="hush"))
