"""Twilio's callbacks become engagements, its errors become refusals, and what people answer becomes a wish."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tidings.channels.base import Envelope
from tidings.channels.replies import Wish
from tidings.channels.twilio import RANK, Twilio, events, inbound, verified
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.model.engagement import EngagementKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "code", "kind", "suppress"),
    [
        (400, 21211, Reject, "bad_number"), (400, 21614, Reject, "bad_number"), (400, 21635, Reject, "bad_number"),
        (400, 21610, Reject, "stop"), (400, 21408, Reject, None), (400, 21617, Reject, None),
        (400, 21611, Retry, None), (429, 20429, Retry, None), (429, 0, Retry, None), (400, 20429, Retry, None),
        (401, 20003, Halt, None), (403, 20403, Halt, None), (404, 20404, Halt, None), (400, 21703, Halt, None),
        (400, 21606, Halt, None), (500, 20500, Unknown, None), (503, 20503, Unknown, None),
    ],
)  # fmt: skip
def test_an_error_code_is_one_refusal(
    http: SimpleNamespace, text: Envelope, status: int, code: int, kind: type, suppress: str | None
) -> None:
    found = refused(http, text, status, json.dumps({"code": code, "message": "no", "status": status}).encode())

    assert type(found) is kind
    assert getattr(found, "suppress", None) == suppress


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"sid": null}', b'{"sid":"SM1","error_code":"x"', b"\xff"])
def test_a_yes_that_cannot_be_read_is_unknown(http: SimpleNamespace, text: Envelope, body: bytes) -> None:
    assert type(refused(http, text, 201, body)) is Unknown


def refused(http: SimpleNamespace, text: Envelope, status: int, body: bytes) -> Exception | str:
    async def run() -> Exception | str:
        async with http.listening(http.status(status, body)) as server:
            provider = Twilio(http.account, "token", base_url=server.url)
            try:
                return await provider.send(text)
            except (Retry, Reject, Unknown, Halt) as refusal:
                return refusal
            finally:
                await provider.close()

    return asyncio.run(run())


def callback(**form: str) -> list[Any]:
    return events({"MessageSid": "SM" + "1a" * 16, **form}, "0b" * 16, NOW)


@pytest.mark.parametrize(
    ("status", "code", "kind", "suppress"),
    [
        ("sent", "", EngagementKind.ACCEPTED, None), ("delivered", "", EngagementKind.DELIVERED, None),
        ("undelivered", "30003", EngagementKind.FAILED, None),
        ("undelivered", "30005", EngagementKind.FAILED, "bad_number"),
        ("undelivered", "30006", EngagementKind.FAILED, "bad_number"),
        ("undelivered", "30007", EngagementKind.FAILED, None), ("failed", "30008", EngagementKind.FAILED, None),
        ("failed", "21610", EngagementKind.FAILED, "stop"),
    ],
)  # fmt: skip
def test_a_status_is_one_engagement(status: str, code: str, kind: EngagementKind, suppress: str | None) -> None:
    (found,) = callback(MessageStatus=status, ErrorCode=code)

    assert (found.kind, found.suppress, found.detail) == (kind, suppress, code or None)
    assert (found.message_id, found.provider_id, found.at) == ("0b" * 16, "SM" + "1a" * 16, NOW)


@pytest.mark.parametrize("status", ["queued", "sending", "accepted", "scheduled", "", "invented"])
def test_a_status_that_proves_nothing_is_no_engagement(status: str) -> None:
    assert callback(MessageStatus=status) == []


def test_a_repeated_callback_has_the_same_id_and_another_status_another() -> None:
    ids = [callback(MessageStatus=status)[0].id for status in ("sent", "sent", "delivered")]

    assert ids[0] == ids[1] != ids[2]


def test_a_final_status_outranks_those_on_the_way() -> None:
    assert RANK["queued"] < RANK["sending"] < RANK["sent"] < RANK["delivered"] == RANK["undelivered"] == RANK["failed"]


def test_twilios_own_word_for_the_wish_is_believed() -> None:
    found = inbound({"From": "+1", "Body": "arrêt", "OptOutType": "STOP"})

    assert found is not None
    assert found.wish is Wish.STOP


def test_a_text_from_nobody_is_nothing() -> None:
    assert inbound({"Body": "STOP"}) is None


def test_signatures_are_twilios_own(shared: Path) -> None:
    told = json.loads((shared / "vectors" / "twilio_request_signature_vectors.json").read_text())

    found = [
        verified(told["auth_token"], each["signature"], each["url"], each.get("raw_json_body") or each["params"])
        for each in told["vectors"]
    ]

    assert found == [each["valid"] for each in told["vectors"]]


@pytest.mark.parametrize(
    ("settings", "valid"),
    [
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", True),
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA1", False),
        ("key=webhooks_sharedkey_1,algorithm=MD5", False),
        (None, False),
    ],
)
def test_a_shared_key_signs_with_the_hash_its_header_names(settings: str | None, valid: bool) -> None:
    url, form = "https://u.example.com/webhooks/twilio/status?d=x", {"To": "+358401234567", "MessageStatus": "sent"}
    text = url + "".join(f"{name}{form[name]}" for name in sorted(form))
    signature = base64.b64encode(hmac.new(b"shared key", text.encode(), hashlib.sha256).digest()).decode()

    assert verified("shared key", signature, url, form, settings) is valid


@pytest.mark.parametrize("signature", [None, "", "nonsense", "é"])
def test_a_malformed_signature_is_a_no(signature: str | None) -> None:
    assert verified("token", signature, "https://u.example.com/x", {"a": "b"}) is False
