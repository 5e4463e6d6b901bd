"""SendGrid's events become engagements: documented ones by name, broken ones without a crash, forged ones never."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.channels.sendgrid import events, verified
from tidings.model.engagement import Engagement, EngagementKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OURS = "0a" * 16


def one(**event: Any) -> Engagement:
    (found,) = events(json.dumps([{"d": OURS, "timestamp": 1795348800, **event}]).encode(), NOW)
    return found


def test_every_documented_event_is_understood(shared: Path) -> None:
    told = json.loads((shared / "vectors" / "sendgrid_event_webhook_examples.json").read_text())["examples"]
    named = [event for event in told if "event" in event]

    found = events(json.dumps(told).encode(), NOW)

    assert len(found) == len([event for event in named if event["event"] != "group_resubscribe"]) == 23
    assert {engagement.kind for engagement in found} == {
        EngagementKind.ACCEPTED, EngagementKind.DEFERRED, EngagementKind.DELIVERED, EngagementKind.OPENED,
        EngagementKind.CLICKED, EngagementKind.BOUNCED, EngagementKind.DROPPED, EngagementKind.COMPLAINED,
        EngagementKind.UNSUBSCRIBED,
    }  # fmt: skip
    assert all(engagement.at.tzinfo is not None for engagement in found)


@pytest.mark.parametrize(
    ("event", "kind", "suppress"),
    [
        ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, EngagementKind.BOUNCED, "hard_bounce"),
        ({"event": "bounce", "status": "5.0.0", "reason": "500 unknown"}, EngagementKind.BOUNCED, "hard_bounce"),
        ({"event": "bounce", "type": "blocked", "status": "5.7.1"}, EngagementKind.BLOCKED, None),
        ({"event": "bounce", "status": "4.2.2"}, EngagementKind.BOUNCED, None),
        ({"event": "bounce"}, EngagementKind.BOUNCED, None),
        ({"event": "spamreport"}, EngagementKind.COMPLAINED, "complaint"),
        ({"event": "unsubscribe"}, EngagementKind.UNSUBSCRIBED, "unsubscribed"),
        ({"event": "group_unsubscribe"}, EngagementKind.UNSUBSCRIBED, "unsubscribed"),
        ({"event": "dropped", "reason": "Bounced Address"}, EngagementKind.DROPPED, "hard_bounce"),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, EngagementKind.DROPPED, "complaint"),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, EngagementKind.DROPPED, "unsubscribed"),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, EngagementKind.DROPPED, None),
        ({"event": "deferred"}, EngagementKind.DEFERRED, None),
        ({"event": "delivered"}, EngagementKind.DELIVERED, None),
    ],
)  # fmt: skip
def test_an_event_says_whether_the_address_may_be_used_again(
    event: dict[str, Any], kind: EngagementKind, suppress: str | None
) -> None:
    found = one(**event)

    assert (found.kind, found.suppress, found.message_id) == (kind, suppress, OURS)


def test_an_open_by_a_privacy_proxy_is_a_machines() -> None:
    assert one(event="open", sg_machine_open=True).machine
    assert not one(event="open", sg_machine_open=False).machine


def test_the_event_id_is_sendgrids_own() -> None:
    assert one(event="open", sg_event_id="abc").id == "abc"


def test_an_event_without_an_id_gets_the_same_one_each_time() -> None:
    first, again, other = one(event="open"), one(event="open"), one(event="open", timestamp=1795348801)

    assert first.id == again.id
    assert first.id != other.id


def test_the_providers_id_is_what_the_answer_to_the_send_told() -> None:
    found = one(event="delivered", sg_message_id="LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-9.0")

    assert found.provider_id == "LRzXl_NHStOGhQ4kofSm_A"


def test_milliseconds_and_words_for_seconds_are_understood() -> None:
    assert one(event="open", timestamp=1795348800000).at == NOW
    assert one(event="open", timestamp="1795348800").at == NOW
    assert one(event="open", timestamp="yesterday").at == NOW


def test_a_reason_keeps_no_address() -> None:
    detail = one(event="bounce", reason="550 5.1.1 <ann@example.com> unknown; call +1 (555) 867-5309").detail

    assert detail == "550 5.1.1 <[address]> unknown; call [number]"


def test_events_nobody_knows_are_left_out() -> None:
    assert events(b'[{"event":"teleported"},{"no":"event"},7,null,[]]', NOW) == []


def test_a_body_that_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        events(b"<html>", NOW)


_words = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
_values = st.recursive(_words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
_kinds = st.sampled_from(["bounce", "open", "dropped", "click"])
_names = ["event", "d", "sg_event_id", "sg_message_id", "timestamp", "reason", "status", "type", "email", "category"]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(_names), _values, max_size=8).flatmap(
            lambda event: _kinds.map(lambda kind: {**event, "event": kind})
        ),
        max_size=4,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_event_breaks_the_reader(told: list[dict[str, Any]]) -> None:
    body = json.dumps(told).encode()
    try:
        found = events(body, NOW)
    except ValueError:  # NaN and lone surrogates are not JSON
        return

    assert len(found) == len(told)
    assert all(len(engagement.id) <= 100 and len(engagement.message_id) <= 32 for engagement in found)


def test_signatures_hold_for_the_very_bytes_only(shared: Path) -> None:
    told = json.loads((shared / "vectors" / "sendgrid_webhook_signature_vectors.json").read_text())

    found = {
        vector["name"]: verified(told["public_key"], vector["signature"], vector["timestamp"], vector["body"].encode())
        for vector in told["vectors"]
    }

    assert found == {vector["name"]: vector["valid"] for vector in told["vectors"]}
    assert sum(found.values()) == 1


@pytest.mark.parametrize(
    ("signature", "timestamp"),
    [(None, "1600112502"), ("MEUC", "1600112502"), ("not base64!", "1600112502"), ("", ""), ("é", "1"), ("MEUC", None)],
)
def test_a_malformed_signature_is_a_no(shared: Path, signature: str | None, timestamp: str | None) -> None:
    key = json.loads((shared / "vectors" / "sendgrid_webhook_signature_vectors.json").read_text())["public_key"]

    assert verified(key, signature, timestamp, b"[]") is False


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (24, True), (25, True), (25.1, False), (-26, False)])
def test_a_webhook_older_than_a_day_is_not_believed(shared: Path, age: float, fresh: bool) -> None:
    told = json.loads((shared / "vectors" / "sendgrid_webhook_signature_vectors.json").read_text())
    vector = told["vectors"][0]
    now = datetime.fromtimestamp(int(vector["timestamp"]), UTC) + timedelta(hours=age)

    assert verified(told["public_key"], vector["signature"], vector["timestamp"], vector["body"].encode(), now) is fresh
