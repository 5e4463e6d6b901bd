"""Mail that would not be trusted is named before it leaves, with how to mend it; without DNS the check says so."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from small_shop import NOON, SmallShop

from tidings.channels import sendgrid, twilio
from tidings.errors import DefinitionError
from tidings.jobs import check, dispatch, preflight
from tidings.jobs.names import NameServers, Unreachable
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN
from tidings.settings import EnvConnections

NewShop = Callable[..., SmallShop]
Zone = Mapping[tuple[str, str], list[str]]
GOOD: Zone = {
    ("fenmark.example", "TXT"): ['"google-site=1"', '"v=spf1 include:send" "grid.net ~all"'],
    ("s1._domainkey.fenmark.example", "CNAME"): ["s1.domainkey.u1.wl.sendgrid.net."],
    ("s1.domainkey.u1.wl.sendgrid.net", "TXT"): ['"k=rsa; t=s; p=MIGf"'],
    ("s2._domainkey.fenmark.example", "TXT"): ['"p=MIGf"'],
    ("_dmarc.fenmark.example", "TXT"): ['"v=DMARC1; p=quarantine; rua=mailto:d@fenmark.example"'],
    ("fenmark.example", "MX"): ["10 mx.fenmark.example."],
    ("t.fenmark.example", "A"): ["192.0.2.1"],
}


class NameServer:
    """A real name server on this machine, over UDP, for one test's records."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                wire, who = self._socket.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            asked = dns.message.from_wire(wire)
            answer = dns.message.make_response(asked)
            name, kind = asked.question[0].name.to_text(True), dns.rdatatype.to_text(asked.question[0].rdtype)
            alias = self.zone.get((name, "CNAME"))
            if alias and kind != "CNAME":
                answer.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "CNAME", *alias))
                name = alias[0].rstrip(".")
            found = self.zone.get((name, kind))
            if found:
                answer.answer.append(dns.rrset.from_text(name + ".", 60, "IN", kind, *found))
            elif not any(one == name for one, _ in self.zone) and not alias:
                answer.set_rcode(dns.rcode.NXDOMAIN)  # type: ignore[attr-defined]
            self._socket.sendto(answer.to_wire(), who)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._socket.close()


@contextmanager
def provider(status: int, answer: object, heard: list[tuple[str, str]] | None = None) -> Iterator[str]:
    """An API that says what it knows about a key; ``heard`` takes what it was asked, and by whom."""

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if heard is not None:
                heard.append((self.path, self.headers.get("Authorization", "")))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def shop(new_shop: NewShop) -> SmallShop:
    """A shop that faces the world: a public address and SendGrid itself."""
    return facing(new_shop())


@pytest.fixture
def texting(shop: SmallShop) -> SmallShop:
    """The same, and Twilio itself."""
    path = shop.folder / "tidings.yaml"
    path.write_text(path.read_text().replace("{name: sendgrid}", "{name: sendgrid}, sms: {name: twilio}"))
    return shop


def facing(shop: SmallShop, **words: str) -> SmallShop:
    path = shop.folder / "tidings.yaml"
    text = path.read_text().replace("http://127.0.0.1:8090", "https://t.fenmark.example")
    lines = [line for line in text.splitlines() if "base_url" not in line and line != "providers:"]
    lines += ["providers: {email: {name: sendgrid}}", *(f"{name}: {value}" for name, value in words.items())]
    path.write_text("\n".join(lines) + "\n")
    shop.load()
    return shop


def found(shop: SmallShop, zone: Zone) -> dict[str, preflight.Finding]:
    server = NameServer(zone)
    try:
        names = NameServers(["127.0.0.1"], port=server.port)
        with shop.opened() as opened:
            return {one.name: one for one in preflight._dns(opened, names)}
    finally:
        server.close()


def test_a_domain_that_is_set_up_well_passes(shop: SmallShop) -> None:
    told = found(shop, GOOD)

    assert {name: one.level for name, one in told.items()} == dict.fromkeys(
        ("SPF", "DKIM", "DMARC", "replies", "link domain"), "ok"
    )
    assert told["DKIM"].fact == "fenmark.example: s1, s2, aligned with the From domain"


@pytest.mark.parametrize(
    ("name", "place", "records", "told"),
    [
        ("SPF", ("fenmark.example", "TXT"), [], "has no record"),
        ("SPF", ("fenmark.example", "TXT"), ['"v=spf1 -all"', '"v=spf1 ~all"'], "has 2 records"),
        ("SPF", ("fenmark.example", "TXT"), ['"v=spf1 +all"'], "lets everybody send"),
        ("SPF", ("fenmark.example", "TXT"), ['"v=spf10 ~all"'], "has no record"),
        ("DKIM", ("s2._domainkey.fenmark.example", "TXT"), [], "no key s2"),
        ("DKIM", ("s2._domainkey.fenmark.example", "TXT"), ['"v=DKIM1; p="'], "key s2 is revoked"),
        ("DMARC", ("_dmarc.fenmark.example", "TXT"), [], "has no policy"),
        ("DMARC", ("_dmarc.fenmark.example", "TXT"), ['"v=DMARC1; rua=mailto:a@b.c"'], "no valid policy"),
        ("DMARC", ("_dmarc.fenmark.example", "TXT"), ['"v=DMARC1; p=none"'], "nobody is told"),
        ("replies", ("fenmark.example", "MX"), [], "takes no mail"),
        ("link domain", ("t.fenmark.example", "A"), [], "does not resolve"),
    ],
)
def test_each_hole_is_named_with_its_mending(
    shop: SmallShop, name: str, place: tuple[str, str], records: list[str], told: str
) -> None:
    one = found(shop, {**GOOD, place: records})[name]

    assert told in one.fact
    assert one.level == ("warning" if "told" in told else "error")
    assert one.fix


def test_without_dns_the_check_says_so_once_and_fails_nothing(shop: SmallShop) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        names = NameServers(["127.0.0.1"], port=silent.getsockname()[1], patience=0.3)
        with pytest.raises(Unreachable):
            names.look_up("fenmark.example", "TXT")
        with shop.opened() as opened:
            told = list(preflight._dns(opened, names))

    assert [(one.name, one.level) for one in told] == [("DNS", "skipped")]
    assert "DNS cannot be reached" in told[0].fact


@pytest.mark.parametrize(
    ("status", "answer", "level", "told"),
    [
        (200, {"scopes": ["mail.send", "2fa_required"]}, "ok", "known, and may send"),
        (200, {"scopes": ["alerts.read"]}, "error", "lacks mail.send"),
        (401, {"errors": []}, "error", "refused (401)"),
        (500, {}, "skipped", "cannot be reached"),
        (200, ["?"], "skipped", "cannot be reached"),
    ],
)
def test_the_key_is_asked_for_its_scopes(
    shop: SmallShop, monkeypatch: pytest.MonkeyPatch, status: int, answer: object, level: str, told: str
) -> None:
    with provider(status, answer) as url, shop.opened() as opened:
        monkeypatch.setattr(sendgrid, "API", url)
        (one,) = [one for one in preflight.run(opened, _Silence()) if one.name == "key of sendgrid"]

    assert (one.level, told in one.fact) == (level, True)


@pytest.mark.parametrize(
    ("status", "answer", "level", "told"),
    [
        (200, {"status": "active"}, "ok", "known, and may send"),
        (200, {"sid": "AC1"}, "ok", "known, and may send"),
        (200, {"status": "suspended"}, "error", "the account is suspended"),
        (200, {"status": "closed"}, "error", "the account is closed"),
        (401, {"code": 20003}, "error", "refused (401)"),
        (403, {}, "error", "refused (403)"),
        (404, {"code": 20404}, "error", "refused (404)"),
        (301, {}, "skipped", "cannot be reached"),
        (503, {}, "skipped", "cannot be reached"),
        (200, ["?"], "skipped", "cannot be reached"),
    ],
)
def test_twilio_is_asked_for_the_account(
    texting: SmallShop, monkeypatch: pytest.MonkeyPatch, status: int, answer: object, level: str, told: str
) -> None:
    heard: list[tuple[str, str]] = []
    with provider(status, answer, heard) as url, texting.opened() as opened:
        monkeypatch.setattr(twilio, "API", url)
        monkeypatch.setattr(sendgrid, "API", url)
        (one,) = [one for one in preflight.run(opened, _Silence()) if one.name == "key of twilio"]

    assert (one.level, told in one.fact, bool(one.fix)) == (level, True, level != "ok")
    account = f"/2010-04-01/Accounts/{ACCOUNT_SID}.json"
    assert [who for path, who in heard if path == account] == [basic(ACCOUNT_SID, AUTH_TOKEN)]
    assert AUTH_TOKEN not in f"{one.fact} {one.fix}"


def test_a_twilio_key_signs_in_by_itself_and_names_its_account(
    texting: SmallShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"conn_type": "tidings_twilio", "login": "SK1", "password": "s3cret", "extra": {"account_sid": ACCOUNT_SID}}
    texting.environ["AIRFLOW_CONN_TWILIO"] = json.dumps(words)
    heard: list[tuple[str, str]] = []
    with provider(200, {"status": "active"}, heard) as url, texting.opened() as opened:
        monkeypatch.setattr(twilio, "API", url)
        monkeypatch.setattr(sendgrid, "API", url)
        (one,) = [one for one in preflight.run(opened, _Silence()) if one.name == "key of twilio"]

    assert one.level == "ok"
    assert (f"/2010-04-01/Accounts/{ACCOUNT_SID}.json", basic("SK1", "s3cret")) in heard


def test_twilio_out_of_reach_is_said_and_fails_nothing(texting: SmallShop, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(twilio, "API", nobody)
        monkeypatch.setattr(sendgrid, "API", nobody)
        told = check.run(texting.folder, EnvConnections(texting.environ), live=True, names=_Silence())

    (one,) = [one for one in told.findings if one.name == "key of twilio"]
    assert (told.problems, one.level, one.fix) == (0, "skipped", "Run this where it can be.")


@pytest.mark.parametrize(
    ("sender", "level", "told"),
    [
        ('"+358501234567"', "ok", "a phone number"),
        ('"+15005550006"', "skipped", "one of Twilio's test numbers"),
        (f"MG{'0a' * 16}", "ok", "a messaging service"),
        (f"MG{'0A' * 16}", "error", "not the SID of a messaging service"),
        ("MG1", "error", "not the SID of a messaging service"),
    ],
)
def test_the_sender_of_texts_is_looked_at(shop: SmallShop, sender: str, level: str, told: str) -> None:
    path = shop.folder / "tidings.yaml"
    field = "messaging_service" if sender.startswith("MG") else "from"
    path.write_text(path.read_text().replace('sms: {from: "+15005550006"}', f"sms: {{{field}: {sender}}}"))

    with shop.opened() as opened:
        (one,) = [one for one in preflight._words(opened.settings) if one.name == "sender of texts"]

    assert (one.level, told in one.fact) == (level, True)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class _Silence:
    def look_up(self, name: str, kind: str) -> list[str]:
        raise Unreachable("silence")


def test_a_shop_with_the_sandbox_is_told_what_stands_in(new_shop: NewShop) -> None:
    shop = new_shop()
    shop.load()

    told = check.run(shop.folder, EnvConnections(shop.environ), live=True, names=_Silence())

    assert told.problems == 0
    levels = {one.name: one.level for one in told.findings}
    assert levels["key of sendgrid"] == levels["SPF, DKIM, DMARC"] == levels["links"] == "skipped"


def test_in_production_nothing_leaves_before_a_live_check_of_these_settings_passed(
    shop: SmallShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_PEPPER", "cGVwcGVycGVwcGVycGVwcGVy")
    monkeypatch.setenv("TIDINGS_LINK_KEYS", "1:cGVwcGVycGVwcGVycGVwcGVy")
    path = shop.folder / "tidings.yaml"
    path.write_text(path.read_text().replace("+15005550006", "+358501234567") + "production: true\n")
    server = NameServer(GOOD)
    names = NameServers(["127.0.0.1"], port=server.port)

    def refused() -> str:
        with shop.opened() as opened, pytest.raises(DefinitionError) as mistake:
            dispatch.run(opened, now=NOON)
        return str(mistake.value)

    assert refused().endswith("found none")
    with provider(401, {}) as url:
        monkeypatch.setattr(sendgrid, "API", url)
        assert check.run(shop.folder, EnvConnections(shop.environ), live=True, names=names).problems == 1
    assert refused().endswith("found one that failed")
    with provider(200, {"scopes": ["mail.send"]}) as url:
        monkeypatch.setattr(sendgrid, "API", url)
        told = check.run(shop.folder, EnvConnections(shop.environ), live=True, names=names)
        assert (told.problems, [one for one in told.findings if one.level == "error"]) == (0, [])
    with shop.opened() as opened:
        assert dispatch.run(opened, now=NOON).claimed == 0

    path.write_text(path.read_text().replace("hello@fenmark.example", "news@fenmark.example"))
    assert refused().endswith("found one of other settings")
    server.close()
