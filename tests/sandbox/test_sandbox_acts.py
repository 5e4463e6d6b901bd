"""What recipients do comes back as the real providers would send it: signed, in simulated time, thousands at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from tidings.channels import sendgrid, twilio
from tidings.channels.base import Envelope
from tidings.errors import Reject
from tidings.model.engagement import EngagementKind
from tidings.sandbox.acts import Act
from tidings.sandbox.server import AUTH_TOKEN, Sandbox

Make = Callable[..., Envelope]
THEN = datetime(2026, 3, 2, 9, tzinfo=UTC)


def no(number: int) -> str:
    return f"{number:032x}"


@pytest.mark.parametrize(
    ("action", "kind", "suppress"),
    [
        ("accept", EngagementKind.ACCEPTED, None), ("deliver", EngagementKind.DELIVERED, None),
        ("open", EngagementKind.OPENED, None), ("defer", EngagementKind.DEFERRED, None),
        ("bounce", EngagementKind.BOUNCED, "hard_bounce"), ("block", EngagementKind.BLOCKED, None),
        ("drop", EngagementKind.DROPPED, "hard_bounce"), ("complain", EngagementKind.COMPLAINED, "complaint"),
    ],
)  # fmt: skip
def test_an_act_on_a_mail_is_a_signed_event_in_its_own_time(
    sandbox: Sandbox, send: Any, mail: Make, listener: Any, action: str, kind: EngagementKind, suppress: str | None
) -> None:
    (theirs,) = send(mail(1))

    posted = sandbox.act([Act(no(1), action, THEN)])

    ((_, path, headers, body),) = listener.got
    (event,) = sendgrid.events(body, datetime.now(UTC))
    signed = [headers[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Signature", "Timestamp")]
    assert (posted.requests, posted.failed, path) == (1, [], "/webhooks/sendgrid")
    assert sendgrid.verified(sandbox.public_key, signed[0], signed[1], body, datetime.now(UTC))
    assert (event.message_id, event.kind, event.suppress, event.at) == (no(1), kind, suppress, THEN)
    assert event.provider_id == theirs


@pytest.mark.parametrize(
    ("action", "kind", "suppress"),
    [
        ("accept", EngagementKind.ACCEPTED, None), ("deliver", EngagementKind.DELIVERED, None),
        ("bounce", EngagementKind.FAILED, "bad_number"), ("block", EngagementKind.FAILED, None),
    ],
)  # fmt: skip
def test_an_act_on_a_text_is_a_signed_status_callback(
    sandbox: Sandbox, send: Any, text: Make, listener: Any, action: str, kind: EngagementKind, suppress: str | None
) -> None:
    (sid,) = send(text(1))

    sandbox.act([Act(no(1), action, THEN)])

    ((_, path, headers, body),) = listener.got
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    (event,) = twilio.events(form, no(1), THEN)
    assert path == f"/webhooks/twilio/status?d={no(1)}"
    assert twilio.verified(AUTH_TOKEN, headers["X-Twilio-Signature"], listener.url + path, form)
    assert (event.kind, event.suppress, event.provider_id) == (kind, suppress, sid)
    assert headers["X-Sandbox-Time"] == THEN.isoformat()


def test_stop_is_posted_and_the_sender_is_blocked(sandbox: Sandbox, send: Any, text: Make, listener: Any) -> None:
    send(text(1))
    sandbox.act([Act(no(1), "stop")])

    ((_, path, headers, body),) = listener.got
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    told = twilio.inbound(form)
    assert path == "/webhooks/twilio/inbound"
    assert twilio.verified(AUTH_TOKEN, headers["X-Twilio-Signature"], listener.url + path, form)
    assert told is not None
    assert (told.wish, told.sender) == (twilio.Wish.STOP, "+358401230001")
    blocked, other = send(text(1), text(1, sender="+15550002222"))
    assert (type(blocked), blocked.suppress) == (Reject, "stop")
    assert isinstance(other, str)

    sandbox.act([Act(no(1), "start")])

    assert isinstance(send(text(1))[0], str)


def test_a_click_opens_the_first_tracked_link_or_the_one_asked_for(
    sandbox: Sandbox, send: Any, mail: Make, listener: Any
) -> None:
    links = [f"{listener.url}/{path}" for path in ("about", "c/first?a=1&amp;b=2", "c/second")]
    send(mail(1, html="".join(f'<p><a style="x" href="{link}">go</a></p>' for link in links)))

    sandbox.act([Act(no(1), "click", THEN)])
    sandbox.act([Act(no(1), "click", THEN, link=2)])
    sandbox.act([Act(no(1), "scan", THEN)])

    assert [(method, path) for method, path, _, _ in listener.got] == [
        ("GET", "/c/first?a=1&b=2"), ("GET", "/c/second"),
        ("HEAD", "/about"), ("HEAD", "/c/first?a=1&b=2"), ("HEAD", "/c/second"),
    ]  # fmt: skip
    assert {headers["X-Sandbox-Time"] for _, _, headers, _ in listener.got} == {THEN.isoformat()}


def test_a_links_in_a_text_are_found(sandbox: Sandbox, send: Any, text: Make, listener: Any) -> None:
    send(text(1, text=f"Fenmark: saved {listener.url}/c/abc. Stop: {listener.url}/u/abc"))

    sandbox.act([Act(no(1), "click")])

    assert listener.got[0][1] == "/c/abc"


def test_unsubscribe_is_one_click(sandbox: Sandbox, send: Any, mail: Make, listener: Any) -> None:
    send(mail(1, headers={"List-Unsubscribe": f"<{listener.url}/u/token>, <mailto:stop@example.com>"}))

    sandbox.act([Act(no(1), "unsubscribe", THEN)])

    ((method, path, headers, body),) = listener.got
    assert (method, path, body) == ("POST", "/u/token", b"List-Unsubscribe=One-Click")
    assert "Cookie" not in headers


def test_what_cannot_be_done_is_told(sandbox: Sandbox, send: Any, mail: Make, text: Make, listener: Any) -> None:
    send(mail(1), text(2))

    posted = sandbox.act([
        Act("nobody", "open"), Act(no(1), "stop"), Act(no(1), "unsubscribe"), Act(no(1), "click"), Act(no(2), "open")
    ])  # fmt: skip

    assert sorted(posted.failed) == [
        f"{no(1)}: has no such link to click",
        f"{no(1)}: offers no one-click unsubscribe",
        f"{no(1)}: sendgrid knows no stop",
        f"{no(2)}: twilio knows no open",
        "nobody: was never accepted",
    ]
    assert listener.got == []


@pytest.mark.parametrize(("times", "failed"), [(1, []), (2, ["POST /webhooks/sendgrid: ServerDisconnectedError"])])
def test_who_hangs_up_before_answering_is_asked_once_more(
    sandbox: Sandbox, send: Any, mail: Make, listener: Any, times: int, failed: list[str]
) -> None:
    send(mail(1))
    listener.hangs_up = times

    posted = sandbox.act([Act(no(1), "deliver")])

    assert posted.failed == failed
    assert len(listener.got) == (0 if failed else 1)


def test_thousands_of_events_go_out_in_few_posts(sandbox: Sandbox, send: Any, mail: Make, listener: Any) -> None:
    send(*(mail(number) for number in range(300)))
    begun = time.perf_counter()

    posted = sandbox.act([Act(no(number), action) for number in range(300) for action in ("accept", "deliver", "open")])

    assert (posted.acts, posted.requests, posted.failed) == (900, 2, [])
    assert sum(len(sendgrid.events(body, THEN)) for _, _, _, body in listener.got) == 900
    assert time.perf_counter() - begun < 5


def test_acts_and_the_clock_over_http(
    sandbox: Sandbox, ask: Callable[..., Any], send: Any, mail: Make, listener: Any
) -> None:
    ask("/sandbox/clock", {"at": "2026-03-02T09:00:00+00:00"})
    send(mail(1))

    status, _, body = ask("/sandbox/act", [{"message": no(1), "action": "deliver"}])
    wrong = ask("/sandbox/act", {"message": no(1), "action": "explode"})
    naive = ask("/sandbox/clock", {"at": "2026-03-02T09:00:00"})

    assert (status, json.loads(body)) == (200, {"acts": 1, "requests": 1, "failed": []})
    assert sandbox.store.messages[0].at == THEN.timestamp()
    assert sendgrid.events(listener.got[0][3], datetime.now(UTC))[0].at == THEN
    assert (wrong[0], naive[0]) == (400, 400)
    assert json.loads(ask("/sandbox/keys")[2])["sendgrid_public_key"] == sandbox.public_key


def test_a_live_sandbox_delivers_by_itself(send: Any, mail: Make, listener: Any) -> None:
    with Sandbox(public_url=listener.url, deliver=True) as live:
        send.url = live.url
        send(mail(1))
        waited = time.perf_counter()
        while not listener.got and time.perf_counter() - waited < 5:
            time.sleep(0.05)

    kinds = [event.kind for _, _, _, body in listener.got for event in sendgrid.events(body, THEN)]
    assert kinds == [EngagementKind.ACCEPTED, EngagementKind.DELIVERED]


def test_the_inbox_lists_searches_and_shows(ask: Callable[..., Any], send: Any, mail: Make, text: Make) -> None:
    dark = "<style>@media (prefers-color-scheme: dark){p{color:#fff}}</style><script>x</script>"
    send(mail(1, html=dark), mail(2, subject="Back in stock"), text(3))

    listed = json.loads(ask("/sandbox/messages?q=STOCK")[2])
    texts = json.loads(ask("/sandbox/messages?provider=twilio")[2])
    shown = json.loads(ask("/sandbox/messages/3")[2])
    status, headers, body = ask("/sandbox/messages/1/html?scheme=dark")

    assert [one["no"] for one in listed["messages"]] == [2]
    assert [one["no"] for one in texts["messages"]] == [3]
    assert (shown["words"]["encoding"], shown["segments"], len(shown["words"]["thread"])) == ("GSM-7", 1, 1)
    assert (status, b"@media all{" in body) == (200, True)
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert ask("/")[0] == ask("/inbox/inbox.js")[0] == ask("/inbox/inbox.css")[0] == 200
    assert ask("/inbox/secrets")[0] == ask("/sandbox/messages/99")[0] == 404


def test_twilios_own_list_shows_the_newest_first_with_their_status(
    sandbox: Sandbox, ask: Callable[..., Any], send: Any, text: Make, listener: Any
) -> None:
    send(text(1), text(2))
    sandbox.act([Act(no(1), "deliver")])
    from base64 import b64encode

    auth = "Basic " + b64encode(f"{sandbox.accounts.account_sid}:{AUTH_TOKEN}".encode()).decode()
    page = json.loads(ask(f"/2010-04-01/Accounts/{sandbox.accounts.account_sid}/Messages.json", Authorization=auth)[2])

    assert [one["status"] for one in page["messages"]] == ["queued", "delivered"]


def test_bounced_addresses_are_on_sendgrids_list(
    sandbox: Sandbox, ask: Callable[..., Any], send: Any, mail: Make, listener: Any
) -> None:
    send(mail(1))
    sandbox.act([Act(no(1), "bounce", THEN)])

    listed = json.loads(ask("/v3/suppression/bounces", Authorization="Bearer SG.key")[2])

    assert [(one["email"], one["created"]) for one in listed] == [("ann1@example.com", int(THEN.timestamp()))]
