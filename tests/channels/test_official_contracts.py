"""What we send is what the providers' own OpenAPI documents describe, and their patched copies, which know more."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from openapi_schema_validator import OAS30Validator

from tidings.channels.base import Envelope
from tidings.channels.sendgrid import payload
from tidings.channels.twilio import Twilio
from tidings.model.people import Channel

LONG = Envelope(
    "0c" * 16, Channel.EMAIL, "ünïcode@example.com", "shop@example.com", subject="Ünïcode ✓", html="<p>x</p>" * 5000
)


def schema(file: Path, path: str, kind: str) -> dict[str, Any]:
    """Return the request body's schema with its references resolved (the documents have no cycles there)."""
    document = json.loads(gzip.decompress(file.read_bytes()))

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                found: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
                return resolved(found)
            return {name: resolved(value) for name, value in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    body = resolved(document["paths"][path]["post"]["requestBody"])
    found: dict[str, Any] = body["content"][kind]["schema"]
    return found


def complaints(schema: dict[str, Any], body: Any) -> list[str]:
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in OAS30Validator(schema).iter_errors(body)]


@pytest.fixture(params=["tsg_mail_v3", "sg_mail_patched"], ids=["official", "patched"])
def mail_schema(request: pytest.FixtureRequest, shared: Path) -> dict[str, Any]:
    return schema(shared / "api" / f"{request.param}.json.gz", "/v3/mail/send", "application/json")


def bodies(mail: Envelope) -> dict[str, dict[str, Any]]:
    return {
        "full": payload(mail),
        "bare": payload(replace(mail, sender_name=None, reply_to=None, headers={}, html=None)),
        "html only": payload(replace(mail, text="")),
        "long": payload(LONG),
    }


def test_an_email_is_what_sendgrid_documents(mail_schema: dict[str, Any], mail: Envelope) -> None:
    found = {name: complaints(mail_schema, body) for name, body in bodies(mail).items()}

    assert found == {"full": [], "bare": [], "html only": [], "long": []}


def test_the_patched_contract_refuses_what_the_official_one_lets_through(shared: Path, mail: Envelope) -> None:
    body = {**payload(mail), "unheard_of": 1}
    official = schema(shared / "api" / "tsg_mail_v3.json.gz", "/v3/mail/send", "application/json")
    patched = schema(shared / "api" / "sg_mail_patched.json.gz", "/v3/mail/send", "application/json")

    assert complaints(official, body) == []
    assert len(complaints(patched, body)) == 1


def test_an_email_carries_one_click_unsubscribe_and_no_tracking(mail: Envelope) -> None:
    body = payload(mail)

    assert body["headers"] == {
        "List-Unsubscribe": "<https://u.example.com/u/token>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert [settings["enable"] for settings in body["tracking_settings"].values()] == [False, False, False]


def test_our_message_id_is_the_only_argument(mail: Envelope) -> None:
    body = payload(mail)

    assert "custom_args" not in body
    assert "categories" not in body
    assert body["personalizations"] == [{"to": [{"email": "ann@example.com"}], "custom_args": {"d": "0a" * 16}}]


def test_plain_text_comes_before_html(mail: Envelope) -> None:
    assert [part["type"] for part in payload(mail)["content"]] == ["text/plain", "text/html"]


@pytest.mark.parametrize("document", ["twilio_messages", "twilio_messages_patched"], ids=["official", "patched"])
@pytest.mark.parametrize("sender", ["+15017122661", "MG" + "1a" * 16], ids=["number", "service"])
def test_a_text_is_what_twilio_documents(
    shared: Path, text: Envelope, http: SimpleNamespace, document: str, sender: str
) -> None:
    path = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
    form = posted(replace(text, sender=sender), http)
    described = schema(shared / "api" / f"{document}.json.gz", path, "application/x-www-form-urlencoded")
    typed = {name: int(value) if name == "ValidityPeriod" else value for name, value in form.items()}

    assert complaints(described, typed) == []
    assert form.keys() <= described["properties"].keys()


def test_a_text_names_its_message_in_the_status_callback_only(text: Envelope, http: SimpleNamespace) -> None:
    form = posted(text, http)

    assert form == {
        "To": "+358401234567",
        "From": "+15017122661",
        "Body": "Fenmark: saved. Stop: STOP",
        "ValidityPeriod": "3600",
        "StatusCallback": f"https://u.example.com/webhooks/twilio/status?d={'0b' * 16}&s=mac",
    }


@pytest.mark.parametrize(("asked", "sent"), [(0, "1"), (90_000, "36000")])
def test_a_validity_stays_within_what_twilio_takes(
    text: Envelope, http: SimpleNamespace, asked: int, sent: str
) -> None:
    assert posted(replace(text, validity_seconds=asked), http)["ValidityPeriod"] == sent


def posted(envelope: Envelope, http: SimpleNamespace) -> dict[str, str]:
    """Return the form that the official client really posts."""

    async def run() -> tuple[str, dict[str, str], bytes]:
        async with http.listening(http.status(201, b'{"sid":"SM1"}')) as server:
            provider = Twilio(
                http.account, "token", base_url=server.url,
                callback=lambda message: f"https://u.example.com/webhooks/twilio/status?d={message}&s=mac",
            )  # fmt: skip
            await provider.send(envelope)
            await provider.close()
            found: tuple[str, dict[str, str], bytes] = server.requests[0]
            return found

    path, headers, body = asyncio.run(run())
    assert path == f"/2010-04-01/Accounts/{http.account}/Messages.json"
    assert headers["Authorization"].startswith("Basic ")
    return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
