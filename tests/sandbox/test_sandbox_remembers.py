"""Asked what they remember, the stand-ins answer as the contracts say, page by page, and our readers read it."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_schema_validator import OAS30Validator

from tidings.channels.lookup import NotAvailable
from tidings.channels.sendgrid_lists import LISTS, SendGridLists
from tidings.channels.twilio_list import TwilioList
from tidings.errors import DefinitionError
from tidings.model.engagement import EngagementKind
from tidings.sandbox.acts import Act
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN, Sandbox

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
BASIC = "Basic " + b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()


def contract(shared: Path, file: str) -> Any:
    return json.loads(gzip.decompress((shared / "api" / file).read_bytes()))


def schema(document: Any, path: str) -> Any:
    """Return the schema of a GET's 200 with its references resolved."""

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                found = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
                return resolved(found)
            return {name: resolved(value) for name, value in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    return resolved(document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"])


def complaints(schema: Any, body: Any) -> list[str]:
    return [f"{list(error.path)}: {error.message}" for error in OAS30Validator(schema).iter_errors(body)]


def fill(sandbox: Sandbox, kind: str, count: int) -> None:
    listed = sandbox.recipients.suppressed[kind]
    for number in range(count):
        listed[f"{kind}{number}@example.com"] = (AT + timedelta(seconds=number)).timestamp()


@pytest.mark.parametrize("kind", LISTS)
def test_a_suppression_list_is_answered_as_documented(
    sandbox: Sandbox, ask: Callable[..., Any], shared: Path, kind: str
) -> None:
    fill(sandbox, kind, 3)

    status, _, raw = ask(f"/v3/suppression/{kind}?limit=2&offset=1", Authorization="Bearer SG.key")

    described = schema(contract(shared, "tsg_suppressions_v3.json.gz"), f"/v3/suppression/{kind}")
    assert status == 200
    assert complaints(described, json.loads(raw)) == []
    assert [one["email"] for one in json.loads(raw)] == [f"{kind}1@example.com", f"{kind}0@example.com"]


@pytest.mark.parametrize("query", ["limit=501", "limit=0", "offset=-1", "start_time=now", "since=1"])
def test_a_question_beyond_the_contract_is_refused(ask: Callable[..., Any], query: str) -> None:
    assert ask(f"/v3/suppression/bounces?{query}", Authorization="Bearer SG.key")[0] == 400


def test_strangers_are_told_nothing(ask: Callable[..., Any]) -> None:
    assert ask("/v3/suppression/bounces")[0] == 401
    assert ask("/v3/messages?query=x")[0] == 401
    assert ask(MESSAGES)[0] == 401


def read(sandbox: Sandbox, kind: str, since: datetime) -> list[Any]:
    async def run() -> list[Any]:
        async with SendGridLists("SG.key", base_url=sandbox.url, wait=0.01) as lists:
            return [one async for one in lists.listed(kind, since)]

    return asyncio.run(run())


def test_every_page_of_a_list_is_read_from_a_moment_on(sandbox: Sandbox) -> None:
    fill(sandbox, "bounces", 1203)

    found = read(sandbox, "bounces", AT + timedelta(seconds=100))

    assert len({one.email for one in found}) == 1103
    assert {one.suppress for one in found} == {"hard_bounce"}
    assert min(one.at for one in found) == AT + timedelta(seconds=100)
    assert "@" not in repr(found[0])


def test_email_activity_is_an_add_on(sandbox: Sandbox, send: Callable[..., Any], mail: Callable[..., Any]) -> None:
    (theirs,) = send(mail(7))

    async def took(message_id: str) -> str | None:
        async with SendGridLists("SG.key", base_url=sandbox.url, wait=0.01) as lists:
            return await lists.took(message_id)

    with pytest.raises(NotAvailable, match="403"):
        asyncio.run(took(f"{7:032x}"))
    sandbox.accounts.email_activity = True
    assert asyncio.run(took(f"{7:032x}")) == theirs
    assert asyncio.run(took(f"{8:032x}")) is None


def test_twilios_list_is_answered_as_documented(
    sandbox: Sandbox, send: Callable[..., Any], text: Callable[..., Any], ask: Callable[..., Any], shared: Path
) -> None:
    sandbox.set_clock(AT)
    send(*(text(number) for number in range(3)))
    sandbox.act([Act(f"{0:032x}", "deliver"), Act(f"{1:032x}", "bounce"), Act(f"{2:032x}", "stop")])

    query = urlencode({"DateSent>": "2026-11-20", "PageSize": 2})
    status, _, raw = ask(f"{MESSAGES}?{query}", Authorization=BASIC)

    page = json.loads(raw)
    described = schema(contract(shared, "twilio_messages.json.gz"), MESSAGES.replace(ACCOUNT_SID, "{AccountSid}"))
    assert status == 200
    assert complaints(described, page) == []
    assert len(page["messages"]) == 2
    assert "PageToken=" in page["next_page_uri"]


@pytest.mark.parametrize("query", ["PageSize=1001", "PageSize=0", "DateSent%3E=yesterday"])
def test_a_page_twilio_does_not_have_is_refused(ask: Callable[..., Any], query: str) -> None:
    assert ask(f"{MESSAGES}?{query}", Authorization=BASIC)[0] == 400


def texts(sandbox: Sandbox, since: datetime) -> list[Any]:
    async def run() -> list[Any]:
        async with TwilioList(ACCOUNT_SID, AUTH_TOKEN, base_url=sandbox.url, wait=0.01) as remembered:
            return [one async for one in remembered.texts(since)]

    return asyncio.run(run())


def test_every_page_of_texts_is_read_with_what_became_of_each(
    sandbox: Sandbox,
    send: Callable[..., Any],
    text: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidings.channels.twilio_list.PAGE", 2)
    sandbox.set_clock(AT - timedelta(days=2))
    send(text(9))
    sandbox.set_clock(AT)
    send(*(text(number) for number in range(4)))
    sandbox.act([Act(f"{0:032x}", "deliver"), Act(f"{1:032x}", "bounce"), Act(f"{2:032x}", "stop")])

    found = texts(sandbox, AT - timedelta(hours=1))

    assert len(found) == 5
    told = {one.to: one.engagements("m") for one in found if not one.incoming}
    assert [one.kind for one in told["+35840123" + "0000"]] == [EngagementKind.DELIVERED]
    assert [one.suppress for one in told["+35840123" + "0001"]] == ["bad_number"]
    assert [one.kind for one in told["+35840123" + "0003"]] == [EngagementKind.ACCEPTED]
    (asked,) = [one.wish() for one in found if one.incoming]
    assert asked is not None
    assert (asked.wish, asked.sender) == ("stop", "+358401230002")
    assert "35840" not in repr(found)


def test_a_provider_that_stays_away_is_one_line(sandbox: Sandbox) -> None:
    async def run() -> None:
        async with SendGridLists("SG.key", base_url="http://127.0.0.1:9", wait=0.01) as lists:
            [one async for one in lists.listed("bounces", AT)]

    with pytest.raises(DefinitionError, match="/v3/suppression/bounces: must be answered by the provider; found"):
        asyncio.run(run())
