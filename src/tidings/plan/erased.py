"""By which keyed hashes somebody who was forgotten is known again, and what is kept of them then: an answer, no one."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator

from tidings.model.entry import Entry
from tidings.model.message import SkipReason, Status
from tidings.model.people import Customer
from tidings.plan.eligibility import email_address, phone_number
from tidings.plan.planner import PlannedEntry

ERASED = "erased:"
# Everybody who was forgotten and qualifies again is this one person in the ledger.
ANYBODY = f"{ERASED}anybody"
# Where dots, and what stands behind a plus, are known not to make another mailbox.
_DOTLESS = frozenset({"gmail.com", "googlemail.com"})
_TAGGED = _DOTLESS | {
    "outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com", "proton.me", "protonmail.com", "fastmail.com",
}  # fmt: skip


def keyed(kind: str, value: str, pepper: bytes) -> str:
    """Return the keyed hash (HMAC-SHA256, 64 hex digits) of an id, an address or a key; kinds never meet."""
    return hmac.digest(pepper, f"{kind}:{value}".encode("utf-8", "surrogatepass"), "sha256").hex()


def mailbox(address: str) -> str:
    """Return a sendable e-mail address in the form that every spelling of the same mailbox has in common."""
    local, _, domain = address.lower().rpartition("@")
    if domain in _TAGGED:
        local = local.partition("+")[0]
    if domain in _DOTLESS:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def of_ids(ids: Iterable[str], pepper: bytes) -> Iterator[str]:
    """Yield the keyed hash of each id."""
    return (keyed("id", one, pepper) for one in ids)


def of_addresses(emails: Iterable[str], phones: Iterable[str], country: str | None, pepper: bytes) -> Iterator[str]:
    """Yield the keyed hash of each usable address, in the form all its spellings share; the others are no address."""
    for given in emails:
        value = email_address(given)
        if value is not None:
            yield keyed("email", mailbox(value), pepper)
    for given in phones:
        number = phone_number(given, country)
        if number is not None:
            yield keyed("phone", number, pepper)


def subjects(asked: str, customer: Customer | None, country: str | None, pepper: bytes) -> list[str]:
    """Return every hash under which a person may have been forgotten: all their ids, their address, their number."""
    if customer is None:
        return list(of_ids([asked], pepper))
    found = list(of_ids({asked, customer.id, *customer.aliases}, pepper))
    emails = [customer.email] if customer.email else []
    phones = [customer.phone] if customer.phone else []
    return [*found, *of_addresses(emails, phones, customer.country or country, pepper)]


def entry_key(key: str, pepper: bytes) -> str:
    """Return what stands for an entry's key, which may hold the customer's id; the same for the same key."""
    return key if key.startswith(ERASED) else ERASED + keyed("entry", key, pepper)


def anonymous(planned: PlannedEntry, pepper: bytes) -> PlannedEntry:
    """Return the answer that an entry of a forgotten person gets: skipped, with nobody's id and nothing they saw.

    Its key is a keyed hash of the entry's own, so that finding the entry again changes nothing.
    """
    hour = planned.entry.entered_at.replace(minute=0, second=0, microsecond=0)
    entry = Entry(entry_key(planned.entry.key, pepper), ANYBODY, hour, hour)
    refused = tuple(
        one._replace(status=Status.SKIPPED, reason=SkipReason.ERASED, address_hash=None, shard=0)
        for one in planned.messages
    )
    return planned._replace(entry=entry, customer_id=ANYBODY, messages=refused)
