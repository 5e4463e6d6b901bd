"""The public web service believes signatures only, asks before it changes anything, and what it writes is obeyed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from tidings.ledger import erasing, schema
from tidings.sandbox.signing import Signer as SandboxSigner
from tidings.settings import secrets
from tidings.web import public_doors
from tidings.web.public import public_app

MAIL, TEXT, NEXT = "0a" * 16, "0b" * 16, "0c" * 16
PHONE = "+358401234567"
_CHANGING = ("sendgrid_webhook_key", "twilio_auth_token", "sandbox_key")


def kinds(shop: Any) -> list[tuple[str, str, bool]]:
    return sorted((row["message_id"], row["kind"], row["machine"]) for row in shop.rows(schema.engagements))


def test_a_signed_event_is_taken_once_however_often_it_comes(shop: Any) -> None:
    event = {"event": "delivered", "sg_event_id": "e1"}

    answers = [shop.events(event, event).status_code for _ in range(3)]

    assert answers == [204, 204, 204]
    assert kinds(shop) == [(MAIL, "delivered", False)]


@pytest.mark.parametrize("how", ["no headers", "other body", "other key"])
def test_a_forged_webhook_changes_nothing(shop: Any, how: str) -> None:
    body = b'[{"event":"spamreport","d":"%s"}]' % MAIL.encode()
    headers = {} if how == "no headers" else shop.signs.sendgrid(body, "1795348800")
    if how == "other body":
        body += b" "
    if how == "other key":
        headers = type(shop.signs)("x").sendgrid(body, "1795348800")

    assert shop.client.post("/webhooks/sendgrid", content=body, headers=headers).status_code == 401
    assert shop.client.post("/webhooks/twilio/inbound", data={"From": PHONE, "Body": "STOP"}).status_code == 401
    assert shop.client.post(f"/webhooks/twilio/status?d={TEXT}", data={"MessageStatus": "failed"}).status_code == 401
    assert kinds(shop) == []
    assert shop.closed() == set()


def test_while_a_webhook_key_changes_both_the_old_and_the_new_are_believed(shop: Any, monkeypatch: Any) -> None:
    """F26: the new key is added first, then SendGrid and Twilio change theirs, then the old one is taken out."""
    made = secrets._new()
    fresh = replace(shop.opened.secrets, **{name: made[name] for name in _CHANGING})
    known = shop.opened.secrets
    both = replace(
        known,
        sendgrid_webhook_key=f"{known.sendgrid_webhook_key}, {fresh.sendgrid_webhook_key}",
        twilio_auth_token=f"{known.twilio_auth_token},{fresh.twilio_auth_token}",
    )

    def answers(number: int) -> list[int]:
        event = {"event": "delivered", "sg_event_id": f"e{number}"}
        text = {"From": PHONE, "To": "+15550001111", "Body": "hello", "MessageSid": f"SM{number:032x}"}
        return [one.status_code for one in (shop.events(event), shop.twilio("/webhooks/twilio/inbound", **text))]

    old, new = shop.signs, SandboxSigner(fresh.twilio_auth_token or "", fresh.sandbox_key)
    said = {}
    for keys in (known, both, fresh):
        monkeypatch.setattr(shop.opened, "secrets", keys)
        for signs in (old, new):
            shop.signs = signs
            said[len(said)] = answers(len(said))

    assert said == {0: [204, 200], 1: [401, 401], 2: [204, 200], 3: [204, 200], 4: [401, 401], 5: [204, 200]}


def test_an_event_about_nobody_of_ours_is_set_aside(shop: Any) -> None:
    assert shop.events({"event": "delivered", "sg_event_id": "e1", "d": "ff" * 16}).status_code == 204
    assert kinds(shop) == []
    assert [row["provider"] for row in shop.rows(schema.unmatched_events)] == ["sendgrid"]


def test_a_body_above_the_limit_is_not_read(shop: Any) -> None:
    answer = shop.client.post("/webhooks/sendgrid", content=b" " * (5 * 1024 * 1024 + 1))

    assert answer.status_code == 413


def test_a_signed_body_that_is_not_json_is_refused(shop: Any) -> None:
    from datetime import UTC, datetime

    headers = shop.signs.sendgrid(b"<html>", str(int(datetime.now(UTC).timestamp())))

    assert shop.client.post("/webhooks/sendgrid", content=b"<html>", headers=headers).status_code == 400


def test_a_hard_bounce_closes_the_address_and_cancels_what_was_planned_for_it(shop: Any) -> None:
    shop.events({"event": "bounce", "type": "bounce", "status": "5.1.1", "sg_event_id": "e1"})

    assert shop.closed() == {("a", "email", "hard_bounce")}
    assert shop.status(NEXT) == ("cancelled", "suppressed")
    assert shop.status("0d" * 16) == ("planned", None)


def test_a_block_closes_nothing(shop: Any) -> None:
    shop.events({"event": "bounce", "type": "blocked", "sg_event_id": "e1"})

    assert shop.closed() == set()
    assert shop.status(NEXT) == ("planned", None)


def test_a_complaint_closes_the_address_and_the_person(shop: Any) -> None:
    shop.events({"event": "spamreport", "sg_event_id": "e1"})

    assert shop.closed() == {("a", "email", "complaint"), ("p", "email", "complaint")}


def test_a_status_callback_names_its_message_in_its_address(shop: Any) -> None:
    token = shop.opened.status_callback(TEXT).partition("?d=")[2]

    answer = shop.twilio(f"/webhooks/twilio/status?d={token}", MessageSid="SM1", MessageStatus="delivered")

    assert answer.status_code == 204
    assert kinds(shop) == [(TEXT, "delivered", False)]


def test_a_callback_signed_for_another_message_is_forged(shop: Any) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    headers = shop.signs.twilio(f"{shop.base}/webhooks/twilio/status?d={TEXT}", form)

    answer = shop.client.post(f"/webhooks/twilio/status?d={MAIL}", data=form, headers=headers)

    assert answer.status_code == 401


def test_stop_closes_texts_for_the_number_and_start_opens_them(shop: Any) -> None:
    answer = shop.twilio("/webhooks/twilio/inbound", From=PHONE, To="+15550001111", Body="Stop", MessageSid="SM2")

    assert answer.status_code == 200
    assert answer.text.endswith("<Response/>")
    assert shop.closed() == {("a", "sms", "stop")}
    assert shop.status("0d" * 16) == ("cancelled", "suppressed")

    shop.twilio("/webhooks/twilio/inbound", From=PHONE, To="+15550001111", Body="START", MessageSid="SM3")

    assert all(row["lifted_at"] >= row["at"] for row in shop.rows(schema.suppressions))


def test_an_empty_field_of_a_callback_is_signed_as_well(shop: Any) -> None:
    path = f"/webhooks/twilio/status?d={TEXT}"

    assert shop.twilio(path, MessageSid="SM1", MessageStatus="sent", ErrorCode="").status_code == 204


def test_a_click_leads_to_the_stored_target(shop: Any) -> None:
    answer = shop.client.get(f"/c/{shop.opened.signer.click(MAIL, 1)}")

    assert (answer.status_code, answer.headers["Location"]) == (302, "https://fenmark.example/lamp?utm_source=tidings")
    assert kinds(shop) == [(MAIL, "clicked", False)]


def test_a_scanner_is_led_on_and_does_not_count(shop: Any) -> None:
    answer = shop.client.head(f"/c/{shop.opened.signer.click(MAIL, 0)}")

    assert answer.status_code == 302
    assert kinds(shop) == [(MAIL, "clicked", True)]


@pytest.mark.parametrize(("seconds", "machine"), [(9, True), (10, False)])
def test_a_click_within_ten_seconds_of_sending_is_a_machines(shop: Any, seconds: int, machine: bool) -> None:
    (row,) = [row for row in shop.rows(schema.messages) if row["id"] == MAIL]
    at = row["sending_at"] + timedelta(seconds=seconds)

    shop.client.get(f"/c/{shop.opened.signer.click(MAIL, 0)}", headers={"X-Sandbox-Time": at.isoformat()})

    assert kinds(shop) == [(MAIL, "clicked", machine)]


def test_a_link_we_did_not_sign_leads_nowhere(shop: Any) -> None:
    signer = shop.opened.signer
    genuine = signer.click(MAIL, 0)
    forged = genuine[:-1] + ("A" if genuine[-1] != "A" else "Q")
    tokens = [
        "x", "https://evil.example", forged, signer.click(MAIL, 7), signer.click(NEXT, 0),
        signer.unsubscribe(MAIL), signer.click("ee" * 16, 0),
    ]  # fmt: skip

    assert [shop.client.get(f"/c/{token}").status_code for token in tokens] == [404] * 3 + [410, 410, 404, 410]
    assert kinds(shop) == []


def test_opening_an_unsubscribe_link_only_asks(shop: Any) -> None:
    path = f"/u/{shop.opened.signer.unsubscribe(MAIL)}"

    answers = [shop.client.get(path), shop.client.head(path), shop.client.get(path)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert 'method="post"' in answers[0].text
    assert (kinds(shop), shop.closed()) == ([], set())


@pytest.mark.parametrize("how", ["form", "multipart"])
def test_one_click_is_enough_and_twice_is_the_same(shop: Any, how: str) -> None:
    path = f"/u/{shop.opened.signer.unsubscribe(MAIL)}"
    body = {"List-Unsubscribe": "One-Click"}

    def post() -> Any:
        if how == "form":
            return shop.client.post(path, data=body)
        return shop.client.post(path, files={name: (None, value) for name, value in body.items()})

    answers = [post(), post()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert shop.closed() == {("a", "email", "unsubscribed"), ("p", "email", "unsubscribed")}
    assert kinds(shop) == [(MAIL, "unsubscribed", False)]
    assert shop.status(NEXT) == ("cancelled", "suppressed")
    assert shop.status("0d" * 16) == ("planned", None)


def test_other_tokens_unsubscribe_nobody(shop: Any) -> None:
    signer = shop.opened.signer

    for token, status in (
        ("x", 404), (signer.click(MAIL, 0), 404), (signer.preferences(MAIL), 404), (signer.unsubscribe("ee" * 16), 410),
    ):  # fmt: skip
        assert shop.client.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"}).status_code == status
    assert shop.closed() == set()


def test_every_answer_carries_the_security_headers(shop: Any) -> None:
    paths = ["/healthz", "/nowhere", "/c/x", f"/u/{shop.opened.signer.unsubscribe(MAIL)}", "/public.css"]

    for path in paths:
        headers = shop.client.get(path).headers
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_every_failure_carries_the_security_headers_too(shop: Any) -> None:
    signer, path = shop.opened.signer, f"/u/{shop.opened.signer.unsubscribe(MAIL)}"
    answers = [shop.client.get(f"/u/wrong{n}") for n in range(31)]
    answers += [shop.client.post("/webhooks/sendgrid", content=b"[]"), shop.client.options(path)]
    answers += [shop.client.post(path, content=b"x" * 70_000), shop.client.get(f"/c/{signer.click('ee' * 16, 0)}")]
    with TestClient(public_app(shop.opened), base_url=shop.base, raise_server_exceptions=False) as client:
        with shop.opened.ledger.writing() as conn:
            conn.execute(text("ALTER TABLE messages RENAME TO elsewhere"))
        answers.append(client.get(path))
        vars(shop.opened)["signer"] = None
        answers.append(client.get(path))

    assert {answer.status_code for answer in answers} == {404, 405, 410, 413, 429, 500, 503}
    for answer in answers:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")
        assert "Traceback" not in answer.text
    assert shop.closed() == set()


@pytest.mark.parametrize(("says", "status"), [("nothing more", 408), ("goodbye", 400)])
@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_body_that_never_ends_is_not_waited_for(
    shop: Any, monkeypatch: pytest.MonkeyPatch, says: str, status: int
) -> None:
    monkeypatch.setattr(public_doors, "PATIENCE", 0.05)
    path = f"/u/{shop.opened.signer.unsubscribe(MAIL)}"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "client": ("::1", 1)}
    parts = [{"type": "http.request", "body": b"List-", "more_body": True}]
    said: list[Any] = []

    async def receive() -> Any:
        if not parts and says == "nothing more":
            await asyncio.sleep(60)
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(public_app(shop.opened)(scope, receive, send))

    assert said[0]["status"] == status
    assert shop.closed() == set()


def test_links_of_somebody_who_was_forgotten_lead_nowhere(shop: Any) -> None:
    signer = shop.opened.signer
    paths = {
        "GET": f"/c/{signer.click(MAIL, 0)}", "POST": f"/u/{signer.unsubscribe(MAIL)}",
        "HEAD": f"/p/{signer.preferences(MAIL)}",
    }  # fmt: skip
    with shop.opened.ledger.writing() as conn:
        erasing.erase(conn, ["c0", "c1"], [], shop.opened.secrets.pepper)
    before = (shop.rows(schema.messages), shop.rows(schema.suppressions), shop.rows(schema.consents))

    assert [shop.client.request(method, path).status_code for method, path in paths.items()] == [410, 410, 410]

    assert (kinds(shop), shop.rows(schema.raw_events)) == ([], [])
    assert (shop.rows(schema.messages), shop.rows(schema.suppressions), shop.rows(schema.consents)) == before


def test_no_page_shows_an_address_or_a_name(shop: Any) -> None:
    signer = shop.opened.signer
    path = f"/p/{signer.preferences(MAIL)}"
    pages = [
        shop.client.get(f"/u/{signer.unsubscribe(MAIL)}"), shop.client.get(path),
        shop.client.post(path, data={"do": "show"}),
    ]  # fmt: skip

    assert not any(word in page.text for page in pages for word in ("@", "ann.", PHONE[1:], ">c1<"))
