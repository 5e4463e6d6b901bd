"""The sandbox takes what the official contracts describe, and refuses what the real services refuse."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_schema_validator import OAS30Validator

from tidings.sandbox.sendgrid_rules import problems
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN

BODY: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ann@example.com", "name": "Ann"}], "custom_args": {"d": "1"}}],
    "from": {"email": "shop@example.com", "name": "Fenmark"},
    "reply_to": {"email": "care@example.com"},
    "subject": "Your cart is saved",
    "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello</p>"}],
    "headers": {"List-Unsubscribe": "<https://u.example.com/u/1>"},
    "categories": ["cart"],
    "asm": {"group_id": 7},
    "send_at": 1,
    "ip_pool_name": "main",
    "tracking_settings": {"open_tracking": {"enable": False}},
}
TO = "personalizations.0.to"
DOCUMENT = "/2010-04-01/Accounts/{AccountSid}/Messages.json"


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the good body with one place changed; ``...`` takes it away."""
    body = copy.deepcopy(BODY)
    node: Any = body
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return body


def test_the_good_body_is_good() -> None:
    assert problems(BODY, time.time()) == []


REFUSED = {
    "no sender": ("from", ...), "a sender without address": ("from", {"name": "x"}),
    "a bad sender": ("from.email", "shop"), "no personalizations": ("personalizations", ...),
    "empty personalizations": ("personalizations", []), "nobody to write to": (TO, []), "no to": (TO, ...),
    "a bad address": (f"{TO}.0.email", "ann@"), "an address that is none": (f"{TO}.0.email", None),
    "a space in the address": (f"{TO}.0.email", "an n@example.com"),
    "an unknown field": ("shiny", 1), "an unknown field for one person": ("personalizations.0.shiny", 1),
    "no content": ("content", ...), "empty content": ("content", []), "an empty value": ("content.0.value", ""),
    "html before text": ("content", list(reversed(BODY["content"]))),
    "text twice": ("content", BODY["content"][:1] * 2),
    "no subject": ("subject", ...), "an empty subject": ("subject", ""), "a subject that is no text": ("subject", 3),
    "eleven categories": ("categories", [str(n) for n in range(11)]), "a category twice": ("categories", ["a", "a"]),
    "a long category": ("categories", ["x" * 256]), "a group without id": ("asm", {}),
    "a group that is no number": ("asm.group_id", "7"), "a moment in words": ("send_at", "now"),
    "a moment too far off": ("send_at", int(time.time()) + 73 * 3600), "a short pool": ("ip_pool_name", "x"),
    "a reserved header": ("headers", {"Reply-To": "x"}), "a header over two lines": ("headers", {"X-A": "a\r\nBcc: b"}),
    "a header that is no text": ("headers", {"X-A": 1}), "arguments that are no object": ("custom_args", "d"),
    "an argument that is no text": ("custom_args", {"d": 1}),
    "arguments too long": ("custom_args", {"d": "x" * 10_001}),
    "an argument of one person that is no text": ("personalizations.0.custom_args", {"d": 1}),
    "a switch in words": ("tracking_settings.open_tracking.enable", "no"),
    "a bad reply address": ("reply_to.email", "x"), "a reply address of null": ("reply_to", None),
    "an unnamed attachment": ("attachments", [{"content": "eA=="}]),
    "the same person twice": (TO, [{"email": "ann@example.com"}, {"email": "Ann@example.com"}]),
    "1001 personalizations": ("personalizations", [{"to": [{"email": f"a{n}@example.com"}]} for n in range(1001)]),
    "1001 recipients": (TO, [{"email": f"a{n}@example.com"} for n in range(1001)]),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value"), REFUSED.values(), ids=list(REFUSED))
def test_what_sendgrid_refuses_is_refused(path: str, value: Any) -> None:
    assert problems(changed(path, value), time.time()) != []


def test_a_thousand_of_each_is_still_taken() -> None:
    people = [{"to": [{"email": f"a{n}@example.com"}]} for n in range(1000)]

    assert problems(changed("personalizations", people), time.time()) == []


def mail_schema(shared: Path, name: str) -> dict[str, Any]:
    document = json.loads(gzip.decompress((shared / "api" / name).read_bytes()))

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                found: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
                return resolved(found)
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    return resolved(document)  # type: ignore[no-any-return]


JUNK: list[Any] = [..., None, "", "x", 0, -1, 1.5, True, [], {}, [1], {"a": 1}, "a" * 300, ["a", "a"]]
PLACES = [
    "personalizations", "personalizations.0", TO, f"{TO}.0", f"{TO}.0.email", f"{TO}.0.name", "from", "from.email",
    "from.name", "reply_to", "reply_to.email", "subject", "content", "content.0", "content.0.type", "content.1.value",
    "headers", "categories", "asm", "asm.group_id", "send_at", "ip_pool_name", "tracking_settings", "mail_settings",
    "tracking_settings.open_tracking", "tracking_settings.open_tracking.enable", "personalizations.0.custom_args",
    "personalizations.0.subject", "personalizations.0.send_at", "personalizations.0.cc", "custom_args", "attachments",
    "template_id", "batch_id", "unheard_of",
]  # fmt: skip


def broken() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for place, junk in product(PLACES, JUNK):
        with contextlib.suppress(KeyError):  # nothing there to take away
            yield place, junk, changed(place, junk)


def test_whatever_the_patched_contract_refuses_the_sandbox_refuses(contract: Callable[[Any], bool]) -> None:
    refused = [(place, junk, body) for place, junk, body in broken() if contract(body)]

    assert len(refused) > 200
    assert [(place, junk) for place, junk, body in refused if not problems(body, time.time())] == []


@pytest.fixture(scope="module")
def contract(shared: Path) -> Callable[[Any], bool]:
    """Says whether the patched contract refuses a body."""
    document = mail_schema(shared, "sg_mail_patched.json.gz")
    body = document["paths"]["/v3/mail/send"]["post"]["requestBody"]
    validator = OAS30Validator(body["content"]["application/json"]["schema"])
    return lambda given: not validator.is_valid(given)


def test_a_refusal_has_sendgrids_envelope(ask: Callable[..., Any]) -> None:
    status, _, body = ask("/v3/mail/send", changed(TO, []), Authorization="Bearer SG.key")

    assert status == 400
    assert [sorted(error) for error in json.loads(body)["errors"]] == [["field", "help", "message"]]


@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [
        (b"{", {}, 400), (b"[]", {}, 400), (b"{}", {"Authorization": ""}, 401),
        (b"{}", {"Authorization": "Basic abc"}, 401), (b"{}", {"Content_Type": "text/plain"}, 415),
    ],
)  # fmt: skip
def test_the_door_is_kept_before_the_body(ask: Any, raw: bytes, headers: dict[str, str], status: int) -> None:
    assert ask("/v3/mail/send", raw, **{"Authorization": "Bearer SG.key", **headers})[0] == status


def test_an_accepted_mail_is_answered_as_documented(ask: Callable[..., Any], shared: Path) -> None:
    status, headers, body = ask("/v3/mail/send", BODY, Authorization="Bearer SG.key")

    described = mail_schema(shared, "sg_mail_patched.json.gz")["paths"]["/v3/mail/send"]["post"]["responses"]["202"]
    assert (status, body) == (202, b"")
    assert OAS30Validator(described["headers"]["X-Message-Id"]["schema"]).is_valid(headers["X-Message-Id"])


FORM = {"To": "+358401234567", "From": "+15550001111", "Body": "Hello", "ValidityPeriod": "3600"}


def text(ask: Callable[..., Any], account: str = ACCOUNT_SID, login: str = ACCOUNT_SID, **form: str) -> tuple[int, Any]:
    auth = b64encode(f"{login}:{AUTH_TOKEN}".encode()).decode()
    body = urlencode({name: value for name, value in {**FORM, **form}.items() if value != "..."}).encode()
    status, _, answer = ask(
        f"/2010-04-01/Accounts/{account}/Messages.json", body, Authorization=f"Basic {auth}",
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip
    return status, json.loads(answer)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": "..."}, 21604), ({"To": "banana"}, 21211), ({"To": "0401234567"}, 21211),
        ({"To": "+0401234567"}, 21211),
        ({"From": "..."}, 21603), ({"From": "+12"}, 21212), ({"From": "+358401234567"}, 21266),
        ({"Body": "..."}, 21602),
        ({"Body": ""}, 21602), ({"Body": "x" * 1601}, 21617), ({"ValidityPeriod": "0"}, 20001),
        ({"ValidityPeriod": "36001"}, 20001), ({"StatusCallback": "not a url"}, 21609),
        ({"From": "...", "MessagingServiceSid": "MG1"}, 21701),
        ({"SendAt": "2026-11-22T12:00:00Z", "ScheduleType": "x"}, 35126),
    ],
)  # fmt: skip
def test_what_twilio_refuses_is_refused_with_its_code(ask: Callable[..., Any], form: dict[str, str], code: int) -> None:
    status, answer = text(ask, **form)

    assert (status, answer["code"], answer["status"]) == (400, code, 400)
    assert answer["more_info"].endswith(str(code))


def test_strangers_and_other_accounts_are_refused(ask: Callable[..., Any]) -> None:
    assert text(ask, login="AC" + "9" * 32)[0] == 401
    assert text(ask, account="AC" + "9" * 32)[0] == 404
    assert text(ask, login="SK" + "9" * 32)[0] == 201


def test_an_accepted_text_is_answered_as_documented(ask: Callable[..., Any], shared: Path) -> None:
    status, answer = text(ask, Body="x" * 1600)

    document = mail_schema(shared, "twilio_messages_patched.json.gz")
    described = document["paths"][DOCUMENT]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
    assert status == 201
    assert [error.message for error in OAS30Validator(described).iter_errors(answer)] == []
    assert (answer["to"], answer["from"], answer["num_segments"]) == ("+358401234567", "+15550001111", "11")
