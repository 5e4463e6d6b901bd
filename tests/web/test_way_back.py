"""Whatever order events come in, however often, and whatever stands between them, the ledger ends the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from tidings.jobs import way_back
from tidings.ledger import schema

MAIL, TEXT, NEXT = "0a" * 16, "0b" * 16, "0c" * 16
SENT = datetime(2026, 11, 20, 9, tzinfo=UTC)
WRITTEN = (
    schema.engagements, schema.suppressions, schema.opt_outs, schema.raw_events, schema.unmatched_events,
)  # fmt: skip


def event(name: str, kind: str, after: float, **more: Any) -> dict[str, Any]:
    at = int((SENT + timedelta(seconds=after)).timestamp())
    return {"event": kind, "sg_event_id": name, "timestamp": at, "email": "ann@example.com", **more}


OURS = {"d": MAIL, "sg_message_id": "theirs.filter-1"}
EVENTS = [
    event("processed", "processed", 1, **OURS),
    event("delivered", "delivered", 30, **OURS),
    # Before the mail server had taken it, and two seconds after: machines.
    event("early", "click", 29, url="https://x.example", useragent="Mozilla/5.0", **OURS),
    event("soon", "click", 32, url="https://x.example", useragent="Mozilla/5.0", **OURS),
    event("human", "click", 900, url="https://x.example", useragent="Mozilla/5.0", **OURS),
    # An asynchronous bounce: without our argument, found by what other events say of the message.
    event("late", "bounce", 4000, type="bounce", reason="550 5.1.1 ann@example.com unknown", sg_message_id="theirs.x"),
    event("complaint", "spamreport", 5000, **OURS),
    event("again", "spamreport", 5000, d=NEXT),
    event("stranger", "delivered", 10, d="ff" * 16),
    event("odd", "something_new", 10, secret="ann@example.com"),
]


def state(shop: Any) -> dict[str, Any]:
    return {
        "engagements": {
            (row["id"], row["message_id"], row["kind"], row["at"], row["machine"])
            for row in shop.rows(schema.engagements)
        },
        "suppressions": {
            (row["subject"], row["channel"], row["reason"], row["at"], row["lifted_at"], row["message_id"])
            for row in shop.rows(schema.suppressions)
        },
        "messages": {
            (row["id"], row["status"], row["sent_at"], row["provider_id"], row["reason"])
            for row in shop.rows(schema.messages)
        },
        "raw": {(row["id"], row["kind"], row["message_id"], row["body"]) for row in shop.rows(schema.raw_events)},
        "unmatched": {row["id"] for row in shop.rows(schema.unmatched_events)},
    }


def begin_again(shop: Any) -> None:
    with shop.opened.ledger.writing() as conn:
        for table in WRITTEN:
            conn.execute(delete(table))
        values: dict[str, Any] = {"provider_id": None, "reason": None, "ended_at": None}
        m = schema.messages
        conn.execute(update(m).where(m.c.id == MAIL).values(status="unknown", sent_at=None, **values))
        conn.execute(update(m).where(m.c.id == NEXT).values(status="planned", **values))


def take(shop: Any, events: list[dict[str, Any]]) -> None:
    way_back.take_sendgrid(shop.opened, json.dumps(events).encode(), SENT + timedelta(days=1))


deliveries = st.lists(st.sampled_from(range(len(EVENTS))), max_size=46).flatmap(
    lambda more: st.permutations([*range(len(EVENTS)), *more])
)


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=deliveries, cuts=st.sets(st.integers(1, 50), max_size=12))
def test_every_order_and_repetition_ends_the_same(shop: Any, order: list[int], cuts: set[int]) -> None:
    begin_again(shop)
    take(shop, EVENTS)
    expected = state(shop)
    begin_again(shop)

    start = 0
    for end in [*sorted(cut for cut in cuts if cut < len(order)), len(order)]:
        take(shop, [EVENTS[number] for number in order[start:end]])
        start = end

    assert state(shop) == expected
    machines = {row[0] for row in expected["engagements"] if row[4]}
    assert machines == {"early", "soon"}
    assert "late" in {row[0] for row in expected["engagements"]}
    assert expected["unmatched"] == {"stranger"}


def test_nobody_stands_in_what_is_kept(shop: Any) -> None:
    more = {
        "ip": "203.0.113.9", "smtp-id": "<x@ismtpd>", "useragent": "Mozilla from 2001:db8:0:1:2:3:4:5",
        "reason": "550 user ann (ann@example.com, +358401234567) unknown", "category": ["for ann@example.com"],
        "ann@example.com": "x", "names": {"first": "Ann"},
        "url": f"https://u.example/u/{shop.opened.signer.unsubscribe(MAIL)}",
    }  # fmt: skip

    assert shop.events(event("e1", "bounce", 5, type="bounce", d=MAIL, **more)).status_code == 204

    (row,) = shop.rows(schema.raw_events)
    for told in ("ann@", "203.0", "2001:db8", "358401234567", "Ann", "user ann ", shop.opened.signer.unsubscribe(MAIL)):
        assert told not in row["body"], told
    assert (row["kind"], row["message_id"]) == ("bounce", MAIL)
    assert '"type":"bounce"' in row["body"]


def signed(shop: Any, body: bytes) -> Any:
    headers = shop.signs.sendgrid(body, str(int(datetime.now(UTC).timestamp())))
    return shop.client.post("/webhooks/sendgrid", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400), (b"", 400), (b"null", 204), (b"7", 204), (b'"x"', 204), (b"[]", 204), (b"{}", 204),
        (b'[{"event":"open","a":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}]", 204), (b"\xff\xfe", 400),
        (b"[" + b"{}," * 100_000 + b"{}]", 413), (b" " * (10 * 1024 * 1024), 413),
    ],
    ids=["deep", "empty", "null", "number", "text", "no events", "an empty one", "a deep one", "no UTF-8", "100k",
         "10 MB"],
)  # fmt: skip
@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_strange_body_has_a_defined_answer(shop: Any, body: bytes, status: int) -> None:
    assert signed(shop, body).status_code == status


def test_a_bad_event_takes_none_of_the_others_with_it(shop: Any) -> None:
    good = [f'{{"event":"delivered","sg_event_id":"g{n}","d":"{MAIL}","timestamp":1795168860}}' for n in range(3)]
    bad = [
        '{"event":"delivered","sg_event_id":"s","d":"\\ud800"}', "null", "[[[]]]", '"x"', '{"event":{"a":1}}',
        '{"event":"click","sg_event_id":"n\\u0000ul","d":"' + MAIL + '\\u0000"}', "NaN",
        '{"event":"bounce","type":["x"],"timestamp":"soon","email":7,"sg_event_id":"b","reason":{},"d":9}',
    ]  # fmt: skip
    body = ("[" + ",".join([good[0], *bad, good[1], good[2]]) + "]").encode().replace(b'"x"', b'"\xff"')

    assert signed(shop, body).status_code == 204

    assert {f"g{n}" for n in range(3)} <= {row["id"] for row in shop.rows(schema.engagements)}
    assert {"s", "b"} <= {row["id"] for row in shop.rows(schema.raw_events)}


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"X-Twilio-Email-Event-Webhook-Signature": "!!"}, {"X-Twilio-Email-Event-Webhook-Signature": "é"},
        {"X-Twilio-Email-Event-Webhook-Signature": "MEUC", "X-Twilio-Email-Event-Webhook-Timestamp": "soon"},
        {"X-Twilio-Email-Event-Webhook-Signature": "MEUC", "X-Twilio-Email-Event-Webhook-Timestamp": "9" * 400},
        {"X-Twilio-Signature": "é"},
        {"X-Twilio-Signature": "x", "X-Twilio-Webhooks-Signature-Settings": "algorithm=MD5"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_odd_headers_are_forgeries(shop: Any, headers: dict[str, str]) -> None:
    raw = {name: value.encode("utf-8") for name, value in headers.items()}
    paths = ["/webhooks/sendgrid", "/webhooks/twilio/status?d=x", "/webhooks/twilio/inbound?bodySHA256=x"]

    answers = [shop.client.post(path, content=b"[]", headers=raw).status_code for path in paths]
    answers.append(
        shop.client.post(paths[2], content=b"\xff", headers={**raw, "Content-Type": "application/json"}).status_code
    )

    assert answers == [401] * 4


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_webhook_of_the_day_before_yesterday_is_refused(shop: Any) -> None:
    body = b"[]"
    told = [int(datetime.now(UTC).timestamp()) - hours * 3600 for hours in (24, 26)]

    answers = [
        shop.client.post("/webhooks/sendgrid", content=body, headers=shop.signs.sendgrid(body, str(at))).status_code
        for at in told
    ]

    assert answers == [204, 401]


def test_an_unsubscribe_of_nobody_we_wrote_to_closes_the_address(shop: Any) -> None:
    strange = event("e1", "unsubscribe", 5, email="Bob@Example.com")
    group = event("e2", "group_unsubscribe", 5, email="eve@example.com", asm_group_id=1)

    assert shop.events(strange | {"d": "ff" * 16}, group | {"d": "ff" * 16}).status_code == 204

    assert shop.closed() == {("a", "email", "unsubscribed")}
    assert [row["reason"] for row in shop.rows(schema.opt_outs)] == ["unsubscribed"]


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_scanner_that_opens_everything_changes_nothing(shop: Any) -> None:
    signer = shop.opened.signer
    paths = [
        *(f"/c/{signer.click(MAIL, n)}" for n in range(2)), f"/u/{signer.unsubscribe(MAIL)}",
        f"/p/{signer.preferences(MAIL)}",
    ]  # fmt: skip
    human = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140"}
    before = shop.rows(schema.messages)

    for headers in ({"User-Agent": "Mimecast/1.0"}, {"User-Agent": ""}, human | {"Sec-Purpose": "prefetch"}, human):
        for path in paths:
            assert shop.client.get(path, headers=headers).status_code in (200, 302)
    for path in paths:
        shop.client.head(path, headers=human)
        for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
            assert shop.client.request(method, path, headers=human).status_code == 405

    clicks = [row for row in shop.rows(schema.engagements) if row["kind"] == "clicked"]
    assert clicks
    assert all(row["machine"] for row in clicks)
    assert {row["kind"] for row in shop.rows(schema.engagements)} == {"clicked"}
    assert (shop.closed(), shop.rows(schema.consents), shop.rows(schema.opt_outs)) == (set(), [], [])
    assert shop.rows(schema.messages) == before


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_wrong_tokens_are_slowed_down_and_signed_webhooks_never(shop: Any) -> None:
    answers = [shop.client.get(f"/u/wrong{n}") for n in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]

    assert len(refused) == 10
    assert re.fullmatch(r"\d+", refused[0].headers["Retry-After"])
    assert refused[0].headers["Referrer-Policy"] == "no-referrer"
    assert shop.client.get(f"/u/{shop.opened.signer.unsubscribe(MAIL)}").status_code == 200
    for n in range(50):
        assert shop.events(event(f"e{n}", "delivered", 60, d=MAIL)).status_code == 204
    assert shop.client.post("/webhooks/sendgrid", content=b"[]").status_code == 429


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_every_answer_says_how_it_may_be_asked(shop: Any) -> None:
    answers = [
        shop.client.post("/healthz"), shop.client.put("/c/x"), shop.client.get("/webhooks/sendgrid"),
        shop.client.get("/nowhere"),
        shop.client.post(f"/u/{shop.opened.signer.unsubscribe(MAIL)}", content=b"x" * 70_000),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [405, 405, 405, 404, 413]
    assert all("default-src 'none'" in answer.headers["Content-Security-Policy"] for answer in answers)
    assert "GET" in answers[0].headers["Allow"]
