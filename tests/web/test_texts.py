"""Texts open only when the telephone itself says yes, close when it says stop, and everybody who follows is told."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from test_preferences import Page, told

from tidings.jobs import brakes, opt_in, tell_opt_outs, texts
from tidings.jobs.opening import open_project
from tidings.ledger import schema
from tidings.sandbox.api import Accounts
from tidings.sandbox.faults import Fault
from tidings.sandbox.server import ACCOUNT_SID, Sandbox
from tidings.settings import EnvConnections
from tidings.web.public import public_app

TEXT = "0b" * 16
PHONE = "+358401234567"
NOON = datetime(2026, 11, 23, 10, tzinfo=UTC)  # a Monday, 12:00 in Helsinki
NIGHT = NOON.replace(hour=22)


def say(shop: Any, body: str, sid: str, at: datetime = NOON) -> str:
    path, form = "/webhooks/twilio/inbound", {"From": PHONE, "To": "+15550001111", "Body": body, "MessageSid": sid}
    headers = shop.signs.twilio(f"{shop.base}{path}", form) | {"X-Sandbox-Time": at.isoformat()}
    answer = shop.client.post(path, data=form, headers=headers)
    assert answer.status_code == 200
    return str(answer.text)


def open_texts(shop: Any) -> bool:
    return "sms.marketing" in Page(shop).ticked


def granted(shop: Any) -> list[tuple[str, str, bool]]:
    return [(row["basis"], row["wording"] or "", row["granted"]) for row in shop.rows(schema.consents)]


@pytest.fixture
def sandbox(shop: Any) -> Iterator[Sandbox]:
    """A stand-in for Twilio that the shop's settings name."""
    accounts = Accounts(ACCOUNT_SID, shop.opened.secrets.twilio_auth_token or "")
    with Sandbox(accounts=accounts) as running:
        path = shop.opened.project.folder / "tidings.yaml"
        path.write_text(
            path.read_text().replace("sms: {name: twilio}", f'sms: {{name: twilio, base_url: "{running.url}"}}')
        )
        yield running


@pytest.fixture
def again(shop: Any, sandbox: Sandbox) -> Iterator[Any]:
    """The project, opened anew with the stand-in."""
    login = json.dumps({
        "conn_type": "tidings_twilio", "login": ACCOUNT_SID, "password": shop.opened.secrets.twilio_auth_token
    })  # fmt: skip
    with open_project(shop.opened.project.folder, EnvConnections({"AIRFLOW_CONN_TWILIO": login})) as opened:
        yield opened


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_texts_chosen_on_a_page_open_with_the_telephones_yes(shop: Any, sandbox: Sandbox, again: Any) -> None:
    Page(shop).save("email.marketing")
    assert ("a", "sms", "unsubscribed") in shop.closed()

    page = Page(shop)
    page.save("email.marketing", "sms.marketing")
    assert "reply YES" in page.text
    assert ("sms", "marketing", True) not in {row[1:] for row in granted(shop)}

    now = max(shop.opened.ledger.now(), NOON)
    day = now.replace(hour=10, minute=0) + timedelta(days=1)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    assert opt_in.run(again, day.replace(hour=23)).not_now == 1
    assert (opt_in.run(again, day).sent, opt_in.run(again, day).waiting) == (1, 0)
    (asked,) = sandbox.store.messages
    assert "reply YES" in sandbox.store.words(asked)["text"]

    say(shop, "what is this", "SM1", day)
    assert ("double_opt_in") not in {row[0] for row in granted(shop)}
    say(shop, "Yes please!", "SM2", day + timedelta(minutes=1))
    assert ("double_opt_in", "Fenmark may send me by text message: News, offers and reminders", True) in granted(shop)
    assert shop.rows(schema.opt_ins)[0]["granted"] is True
    assert told(shop)[-1] == ("sms", "marketing", False, "double_opt_in")


def daytime(shop: Any) -> datetime:
    """Return a moment in which the number may be asked."""
    day: datetime = max(shop.opened.ledger.now(), NOON).replace(hour=10, minute=0) + timedelta(days=1)
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() >= 5 else 0)


def chosen(shop: Any) -> datetime:
    """Let texts be chosen on the page; return when their number may be asked."""
    Page(shop).save("email.marketing")
    Page(shop).save("email.marketing", "sms.marketing")
    return daytime(shop)


class Meanwhile:
    """A warehouse that answers as it is; something happens when it has answered."""

    def __init__(self, shop: Any, then: Callable[[], object]) -> None:
        self._shop, self._then = shop, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shop, name)

    def stream(self, *given: Any, **more: Any) -> Iterator[Any]:
        yield from self._shop.stream(*given, **more)
        self._then()


def test_the_kill_switch_stops_questions_that_were_about_to_leave(shop: Any, sandbox: Sandbox, again: Any) -> None:
    day = chosen(shop)
    vars(again)["shop"] = Meanwhile(again.shop, lambda: brakes.pull(shop.opened, "all", "stop it", by="ann"))

    assert (opt_in.run(again, day).not_now, sandbox.store.messages) == (1, [])

    brakes.release(shop.opened, "all", by="ann")
    vars(again)["shop"] = again.shop._shop
    assert (opt_in.run(again, day).sent, len(sandbox.store.messages)) == (1, 1)


@pytest.mark.parametrize("code", [21610, 21614])
def test_a_question_that_twilio_refuses_closes_the_number(shop: Any, sandbox: Sandbox, again: Any, code: int) -> None:
    day = chosen(shop)
    before = told(shop)
    sandbox.faults.add(Fault("code", provider="twilio", code=code, count=1))

    assert opt_in.run(again, day).failed == 1

    assert ("a", "sms", "stop" if code == 21610 else "bad_number") in shop.closed()
    # The channel was closed before, and the others know.
    assert told(shop) == before
    assert opt_in.run(again, day).waiting == 0


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_yes_that_comes_too_late_or_to_no_question_opens_nothing(shop: Any) -> None:
    Page(shop).save("email.marketing")

    say(shop, "YES", "SM1", shop.opened.ledger.now() + timedelta(hours=1))
    say(shop, "Kyllä", "SM2", shop.opened.ledger.now() + timedelta(hours=1))

    assert "double_opt_in" not in {row[0] for row in granted(shop)}
    assert not open_texts(shop)
    assert [one.words for one in texts.unclear(shop.opened)] == [""]


def test_start_opens_only_what_a_stop_before_it_closed(shop: Any) -> None:
    say(shop, "START", "SM0", NOON + timedelta(hours=2))
    say(shop, "STOP", "SM1", NOON + timedelta(hours=1))
    assert told(shop) == [("sms", "", True, "stop")]
    assert not open_texts(shop)

    say(shop, "start", "SM2", NOON)
    assert not open_texts(shop)
    say(shop, "START", "SM3", NOON + timedelta(hours=3))
    assert open_texts(shop)
    # A repeated delivery of the old stop closes nothing again.
    say(shop, "STOP", "SM1", NOON + timedelta(hours=4))
    assert open_texts(shop)

    assert told(shop) == [("sms", "", True, "stop"), ("sms", "", False, "start")]


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_start_lifts_no_unsubscribe(shop: Any) -> None:
    assert shop.client.post(f"/u/{shop.opened.signer.unsubscribe(TEXT)}").status_code == 200

    say(shop, "START", "SM1", shop.opened.ledger.now() + timedelta(hours=1))

    assert not open_texts(shop)
    assert say(shop, "HELP", "SM2").endswith("<Response/>")


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_an_unclear_text_waits_for_a_person_without_its_sender(shop: Any) -> None:
    say(shop, "STOP it is too much, call +358401234567 or ann@example.com", "SM1")

    (one,) = texts.unclear(shop.opened)
    assert one.words == "STOP it is too much, call [number] or [address]"
    (row,) = shop.rows(schema.raw_events)
    assert PHONE[1:] not in row["body"]
    assert shop.closed() == set()

    assert texts.settle(shop.opened, one.id, opt_out=True)
    assert (shop.closed(), texts.unclear(shop.opened)) == ({("a", "sms", "stop")}, [])
    assert not texts.settle(shop.opened, one.id, opt_out=True)


class Receiver(BaseHTTPRequestHandler):
    """The shop's other tool: takes decisions when ``answer`` says so."""

    answer = 204
    seen: list[tuple[str, bytes]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers[tell_opt_outs.SIGNATURE], body))
        self.send_response(self.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_decisions_are_told_signed_until_they_are_taken(shop: Any) -> None:
    Receiver.seen, Receiver.answer = [], 503
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = shop.opened.project.folder / "tidings.yaml"
    path.write_text(path.read_text() + f'opt_out_webhook: {{url: "http://127.0.0.1:{server.server_port}/hook"}}\n')
    say(shop, "STOP", "SM1")
    key = {"AIRFLOW_CONN_OPT_OUT_WEBHOOK": json.dumps({"conn_type": "http", "password": "secret"})}
    with open_project(shop.opened.project.folder, EnvConnections(key)) as opened:
        assert (tell_opt_outs.run(opened).told, tell_opt_outs.run(opened).why) == (0, "answered 503")
        Receiver.answer = 204
        assert (tell_opt_outs.run(opened).told, tell_opt_outs.run(opened).told) == (1, 0)
    server.shutdown()
    server.server_close()

    signature, body = Receiver.seen[-1]
    seconds, mac = (part.partition("=")[2] for part in signature.split(","))
    assert hmac.compare_digest(mac, hmac.digest(b"secret", seconds.encode() + b"." + body, "sha256").hex())
    (decision,) = json.loads(body)["decisions"]
    assert (decision["channel"], decision["opted_out"], decision["reason"], decision["number"]) == (
        "sms",
        True,
        "stop",
        1,
    )
    assert PHONE.encode() not in body


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_before_production_nobody_outside_is_told(shop: Any) -> None:
    path = shop.opened.project.folder / "tidings.yaml"
    path.write_text(path.read_text() + 'opt_out_webhook: {url: "https://tools.example/hook"}\n')
    say(shop, "STOP", "SM1")

    with open_project(shop.opened.project.folder, EnvConnections({})) as opened:
        assert tell_opt_outs.run(opened) == tell_opt_outs.Counts()


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_shops_own_pages_take_the_place_of_ours_or_are_refused(shop: Any) -> None:
    from tidings.errors import DefinitionError

    folder = shop.opened.project.folder / "message_templates" / "_pages"
    folder.mkdir(parents=True)
    (folder / "words.toml").write_text('[messages.missing]\ntitle = "Tämä linkki ei toimi"\n')
    public_app(shop.opened)
    (folder / "message.html").write_text("{{ nothing }}")
    with pytest.raises(DefinitionError, match="every page must render"):
        public_app(shop.opened)
