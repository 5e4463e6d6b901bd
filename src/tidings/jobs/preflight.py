"""Would our mail be trusted: sender domain, links, addresses and keys, each a line with how to mend it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson
from sqlalchemy import select

from tidings.errors import DefinitionError, TidingsError
from tidings.jobs.names import Names, NameServers, Unreachable
from tidings.jobs.opening import Opened
from tidings.ledger.bulk import upsert
from tidings.ledger.schema import settings as table
from tidings.model.people import Channel
from tidings.settings import Settings, is_local

Level = Literal["ok", "warning", "error", "skipped"]

_SERVICE = re.compile(r"^MG[0-9a-f]{32}$")
_NO_REPLY = re.compile(r"^(no|do-?not|dont)[._-]?reply", re.IGNORECASE)
_TEST_NUMBERS = re.compile(r"^\+1500555\d{4}$")
# Links under a name that thousands of senders share inherit their reputation.
_SHARED = ("sendgrid.net", "twilio.com", "ngrok.io", "ngrok-free.app", "trycloudflare.com", "herokuapp.com")
_PASSED = "live_check"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` says what to do; empty when it is well."""

    name: str
    level: Level
    fact: str
    fix: str = ""


def run(opened: Opened, names: Names | None = None) -> list[Finding]:
    """Look at everything about the senders; nothing is sent. ``names`` are the machine's name servers by default."""
    names = names or NameServers()
    found = list(_words(opened.settings))
    for channel in Channel:
        if getattr(opened.settings.senders, channel.value) is not None:
            found.append(_key(opened, channel))
    found += _dns(opened, names)
    return found


def _words(settings: Settings) -> Iterator[Finding]:
    """Yield what needs no network."""
    address = settings.brand.postal_address
    if len(address) >= 15 and any(letter.isdigit() for letter in address):
        yield Finding("postal address", "ok", "in every message")
    else:
        yield Finding(
            "postal address", "warning", "looks incomplete", "Write street, number, postcode and town in brand."
        )
    yield _link_words(settings)
    if settings.public_url.startswith("https://"):
        yield Finding("one-click unsubscribe", "ok", "List-Unsubscribe and List-Unsubscribe-Post on every e-mail")
    else:
        level: Level = "error" if settings.production else "skipped"
        yield Finding(
            "one-click unsubscribe", level, "mail programs offer it for https only", "Give public_url an https address."
        )
    if settings.senders.email is not None:
        yield _reply(settings)
    if settings.senders.sms is not None:
        yield _texts(settings)


def _link_words(settings: Settings) -> Finding:
    host = urlsplit(settings.public_url).hostname or ""
    if is_local(settings.public_url):
        return Finding("links", "skipped", "public_url is on this machine", "Set public_url before production.")
    if any(host == one or host.endswith(f".{one}") for one in _SHARED):
        return Finding("links", "error", f"{host} is shared with strangers", "Use a name below your own domain.")
    if not settings.public_url.startswith("https://"):
        return Finding("links", "error", "not https", "Give public_url an https address with a certificate.")
    sender = settings.senders.email
    if sender is not None and _registered(host) != _registered(_domain(sender.address)):
        fix = "Use a name below the From domain: filters distrust links that lead elsewhere."
        return Finding("links", "warning", f"{host} is not below the From domain", fix)
    return Finding("links", "ok", f"https, below {_registered(host)}")


def _reply(settings: Settings) -> Finding:
    sender = settings.senders.email
    assert sender is not None
    local = (sender.reply_to or sender.address).partition("@")[0]
    if _NO_REPLY.match(local):
        return Finding("reply address", "warning", "nobody reads it", "Name one that is read: people say stop there.")
    return Finding("reply address", "ok", "of the sender" if sender.reply_to is None else "of its own")


def _texts(settings: Settings) -> Finding:
    sender = settings.senders.sms
    assert sender is not None
    if sender.messaging_service is not None:
        if _SERVICE.match(sender.messaging_service):
            return Finding("sender of texts", "ok", "a messaging service")
        fix = "Copy the service's SID, MG and 32 digits, from Twilio's console."
        return Finding("sender of texts", "error", "not the SID of a messaging service", fix)
    if _TEST_NUMBERS.match(sender.number or ""):
        level: Level = "error" if settings.production else "skipped"
        return Finding("sender of texts", level, "one of Twilio's test numbers", "Rent a number before production.")
    return Finding("sender of texts", "ok", "a phone number")


def _key(opened: Opened, channel: Channel) -> Finding:
    """Ask the provider whether it knows the key."""
    # The official clients take a second to import; a dispatcher only asks whether all this was looked at.
    from tidings.channels import credentials

    choice = getattr(opened.settings.providers, channel.value)
    name = f"key of {choice.name}"
    if choice.name == "outbox":
        return Finding(name, "skipped", f"the outbox sends no {_CHANNELS[channel]}")
    try:
        if not opened.reaches_strangers(channel):
            return Finding(name, "skipped", "the sandbox stands in for it and takes any key")
        known = opened.connections.get(choice.connection_name)
        host = choice.base_url or known.host or None
        base_url = f"https://{host}" if host and "://" not in host else host
        if choice.name == "sendgrid":
            trouble = asyncio.run(credentials.sendgrid_trouble(known.password or "", base_url))
        else:
            account = str(known.extra.get("account_sid") or known.login or "")
            key = known.login if known.extra.get("account_sid") else None
            trouble = asyncio.run(credentials.twilio_trouble(account, known.password or "", key, base_url))
    except credentials.OutOfReach as lost:
        return Finding(name, "skipped", f"{choice.name} cannot be reached ({lost})", "Run this where it can be.")
    except TidingsError as mistake:
        return Finding(name, "error", str(mistake), f"Set the connection {choice.connection_name}.")
    if trouble:
        return Finding(name, "error", trouble, f"Make another key and put it into connection {choice.connection_name}.")
    return Finding(name, "ok", "known, and may send")


_CHANNELS = {Channel.EMAIL: "e-mail", Channel.SMS: "texts"}


def _dns(opened: Opened, names: Names) -> Iterator[Finding]:
    """Yield what name servers say; without any, one clear word."""
    settings = opened.settings
    looks: list[Callable[[Settings, Names], Finding]] = []
    if settings.senders.email is not None:
        if _strangers(opened, Channel.EMAIL) or settings.production:
            looks += [_spf, _dkim, _dmarc, _replies_arrive]
        else:
            yield Finding("SPF, DKIM, DMARC", "skipped", "no mail leaves this machine yet")
    facing = settings.production or any(_strangers(opened, channel) for channel in Channel)
    if facing and not is_local(settings.public_url):
        looks.append(_links_arrive)
    for look in looks:
        try:
            yield look(settings, names)
        except Unreachable as silence:
            fix = "Run `tidings check --live` where DNS works."
            yield Finding("DNS", "skipped", f"DNS cannot be reached ({silence})", fix)
            return


def _strangers(opened: Opened, channel: Channel) -> bool:
    try:
        return opened.reaches_strangers(channel)
    except TidingsError:
        return True


def _spf(settings: Settings, names: Names) -> Finding:
    sender = settings.senders.email
    assert sender is not None
    domain = sender.return_path or _domain(sender.address)
    found = [one for one in names.look_up(domain, "TXT") if one.lower().split(" ")[0] == "v=spf1"]
    if len(found) > 1:
        return Finding("SPF", "error", f"{domain} has {len(found)} records, so none counts", "Merge them into one.")
    if not found:
        fix = f'Publish TXT "v=spf1 include:sendgrid.net ~all" at {domain}, or name senders.email.return_path.'
        return Finding("SPF", "error", f"{domain} has no record", fix)
    if found[0].lower().rstrip().endswith("+all"):
        return Finding("SPF", "error", f"{domain} lets everybody send (+all)", 'End the record with "~all".')
    return Finding("SPF", "ok", domain)


def _dkim(settings: Settings, names: Names) -> Finding:
    sender = settings.senders.email
    assert sender is not None
    domain, missing, revoked = _domain(sender.address), [], []
    for selector in sender.dkim_selectors:
        texts = names.look_up(f"{selector}._domainkey.{domain}", "TXT")
        keys = [match[1] for one in texts if (match := re.search(r"(?:^|;)\s*p=([^;]*)", one))]
        if not keys:
            missing.append(selector)
        elif not keys[0].strip():
            revoked.append(selector)
    if missing or revoked:
        told = [f"no key {one}" for one in missing] + [f"key {one} is revoked" for one in revoked]
        fix = (
            f"Publish the CNAMEs of SendGrid's sender authentication below _domainkey.{domain}, or set dkim_selectors."
        )
        return Finding("DKIM", "error", f"{domain}: {', '.join(told)}", fix)
    return Finding("DKIM", "ok", f"{domain}: {', '.join(sender.dkim_selectors)}, aligned with the From domain")


def _dmarc(settings: Settings, names: Names) -> Finding:
    sender = settings.senders.email
    assert sender is not None
    domain = _domain(sender.address)
    places = dict.fromkeys((domain, _registered(domain)))
    for place in places:
        found = [one for one in names.look_up(f"_dmarc.{place}", "TXT") if one.replace(" ", "").startswith("v=DMARC1")]
        if len(found) > 1:
            return Finding("DMARC", "error", f"{place} has {len(found)} policies, so none counts", "Keep one.")
        if found:
            return _policy(place, found[0], inherited=place != domain)
    fix = f'Publish TXT "v=DMARC1; p=none; rua=mailto:…" at _dmarc.{domain}; mailbox providers ask bulk senders for it.'
    return Finding("DMARC", "error", f"{domain} has no policy", fix)


def _policy(place: str, record: str, *, inherited: bool) -> Finding:
    tags = dict(part.strip().split("=", 1) for part in record.split(";") if "=" in part)
    said = {name.strip().lower(): value.strip().lower() for name, value in tags.items()}
    policy = (said.get("sp") if inherited else None) or said.get("p", "")
    if policy not in ("none", "quarantine", "reject"):
        return Finding("DMARC", "error", f"{place}: no valid policy", "Write p=none, p=quarantine or p=reject.")
    if policy == "none" and "rua" not in said:
        fix = "Add rua=mailto:… to hear of mail that fails, then tighten the policy."
        return Finding("DMARC", "warning", f"{place}: p=none, and nobody is told", fix)
    return Finding("DMARC", "ok", f"{place}: p={policy}")


def _replies_arrive(settings: Settings, names: Names) -> Finding:
    sender = settings.senders.email
    assert sender is not None
    domain = _domain(sender.reply_to or sender.address)
    if names.look_up(domain, "MX") or names.look_up(domain, "A") or names.look_up(domain, "AAAA"):
        return Finding("replies", "ok", f"{domain} takes mail")
    return Finding("replies", "error", f"{domain} takes no mail", "Publish an MX record, or name a reply_to that does.")


def _links_arrive(settings: Settings, names: Names) -> Finding:
    host = urlsplit(settings.public_url).hostname or ""
    if re.fullmatch(r"[\d.]+|.*:.*", host):
        return Finding("link domain", "error", "is a bare address", "Give public_url a name below your own domain.")
    if names.look_up(host, "A") or names.look_up(host, "AAAA"):
        return Finding("link domain", "ok", f"{host} resolves")
    return Finding("link domain", "error", f"{host} does not resolve", "Publish its address, or mend public_url.")


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


# Enough to find a DMARC policy and to compare two of our own names; the whole public list is not needed for that.
_SECOND = frozenset({"co", "com", "net", "org", "ac", "gov", "edu", "or", "ne"})


def _registered(domain: str) -> str:
    parts = domain.lower().rstrip(".").split(".")
    long = len(parts) > 2 and len(parts[-1]) == 2 and parts[-2] in _SECOND
    return ".".join(parts[-3 if long else -2 :])


def keep(opened: Opened, *, passed: bool) -> None:
    """Note in the ledger whether these very settings passed."""
    now = opened.ledger.now()
    value = orjson.dumps({"at": now.isoformat(), "of": _of(opened.settings), "passed": passed}).decode()
    with opened.ledger.writing() as conn:
        write = upsert(conn, table).values(name=_PASSED, value=value)
        conn.execute(write.on_conflict_do_update(index_elements=["name"], set_={"value": write.excluded.value}))


def require(opened: Opened) -> None:
    """Refuse to write to strangers in production before these settings passed. Raises DefinitionError."""
    if not opened.settings.production or not any(_strangers(opened, channel) for channel in Channel):
        return
    with opened.ledger.reading() as conn:
        text = conn.scalar(select(table.c.value).where(table.c.name == _PASSED))
    said: dict[str, Any] = orjson.loads(text) if text else {}
    if said.get("passed") is True and said.get("of") == _of(opened.settings):
        return
    told = (
        "none" if not said else "one that failed" if said.get("of") == _of(opened.settings) else "one of other settings"
    )
    raise DefinitionError(
        f"tidings.yaml: production: needs a passed `tidings check --live` of these settings; found {told}"
    )


def _of(settings: Settings) -> str:
    """Return a hash of what was looked at: another sender, provider or public address is looked at anew."""
    looked = settings.model_dump(mode="json", include={"shop", "production", "public_url", "senders", "providers"})
    looked["postal_address"] = settings.brand.postal_address
    return hashlib.sha256(orjson.dumps(looked, option=orjson.OPT_SORT_KEYS)).hexdigest()
