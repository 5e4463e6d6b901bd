"""Forgetting a person: never written to again from the first commit on, and unknown to us after the last.

Every part may run twice, and a run that was cut off is finished by the next: addresses are closed before anything is
taken out, so that nobody is forgotten and then written to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from tidings.errors import DefinitionError, TidingsError
from tidings.jobs.kept_files import blank_lines
from tidings.jobs.opening import Opened
from tidings.ledger import erasing
from tidings.model.people import Channel
from tidings.plan import erased
from tidings.plan.eligibility import address_hash, email_address, phone_number
from tidings.warehouse import people
from tidings.warehouse.people import MOST_IDS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Everything by which one person is known: their ids, and their addresses as they are sent to."""

    ids: frozenset[str]
    emails: frozenset[str]
    phones: frozenset[str]
    in_warehouse: bool

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses and numbers alike."""
        return self.emails | self.phones


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What forgetting came to; counts only. ``by_hand`` are the lines that a person still has to see to."""

    ids: int
    addresses: int
    cancelled: int
    entries: int
    messages: int
    others: int
    file_lines: int
    by_hand: tuple[str, ...]


def run(
    opened: Opened,
    customer_id: str,
    *,
    emails: Collection[str] = (),
    phones: Collection[str] = (),
    reason: str = "requested",
    now: datetime | None = None,
) -> Forgotten:
    """Forget a customer under every id and address. Raises DefinitionError when nobody is known by that id."""
    now = now or opened.ledger.now()
    person = find(opened, customer_id, emails=emails, phones=phones)
    pepper = opened.secrets.pepper
    country = opened.settings.brand.country
    subjects = {
        *erased.of_ids(person.ids, pepper),
        *erased.of_addresses(person.emails, person.phones, country, pepper),
    }
    with opened.ledger.reading() as conn:
        known = erasing.known(conn, person.ids)
        again = bool(erasing.erased(conn, subjects))
    if not (person.in_warehouse or known.message_ids or emails or phones or again):
        raise DefinitionError("customer: must be known to the warehouse or the ledger; found nobody under this id")
    hashes = known.address_hashes | {address_hash(one, pepper) for one in person.addresses}
    with opened.ledger.writing() as conn:
        cancelled = erasing.close(
            conn, ids=person.ids, subjects=subjects, address_hashes=hashes, reason=reason, now=now
        )
    by_hand = asyncio.run(_ask_providers(opened, person, known, again=again))
    lines = blank_lines(opened.project.folder / ".tidings", person.addresses, known.message_ids)
    with opened.ledger.writing() as conn:
        erasing.tidy(conn)
        changed = erasing.erase(conn, person.ids, hashes, pepper)
    if (changed.entries or changed.messages or changed.others) and not opened.ledger.compact():
        by_hand.append("the ledger's log file still has readers: run this again when nothing else runs")
    log.info(
        "forgot a customer ids=%d addresses=%d cancelled=%d entries=%d messages=%d",
        len(person.ids), len(person.addresses), cancelled, changed.entries, changed.messages,
    )  # fmt: skip
    return Forgotten(
        len(person.ids), len(hashes), cancelled, changed.entries, changed.messages, changed.others, lines,
        tuple(by_hand),
    )  # fmt: skip


def find(
    opened: Opened, customer_id: str | None, *, emails: Collection[str] = (), phones: Collection[str] = ()
) -> Person:
    """Return everything by which the person behind an id is known now; without one, the addresses given.

    Raises DefinitionError for a bad address.
    """
    ids: set[str] = set()
    found_emails, found_phones, known = set[str](), set[str](), False
    if customer_id:
        canonical = people.canonical_ids(opened.shop, [customer_id])
        ids = {customer_id, *(one for one, whose in canonical.items() if whose == canonical[customer_id])}
        found_emails, found_phones, known = _given(opened, ids)
    for given in emails:
        value = email_address(given)
        if value is None:
            raise DefinitionError("--email: must be an e-mail address; found something else")
        found_emails.add(value)
    for given in phones:
        number = phone_number(given, opened.settings.brand.country)
        if number is None:
            raise DefinitionError('--phone: must be a phone number such as "+358501234567"; found something else')
        found_phones.add(number)
    return Person(frozenset(ids), frozenset(found_emails), frozenset(found_phones), known)


def _given(opened: Opened, ids: Collection[str]) -> tuple[set[str], set[str], bool]:
    """Return the addresses of every row that the warehouse has under these ids, merged ones' included."""
    emails: set[str] = set()
    phones: set[str] = set()
    known = False
    tables = opened.shop.tables
    if not tables.has("customers"):
        return emails, phones, known
    c = tables["customers"].c
    for row in opened.shop.stream(select(c.email, c.phone, c.country).where(c.customer_id.in_(sorted(ids)[:MOST_IDS]))):
        known = True
        email = email_address(row.email) if row.email else None
        phone = phone_number(row.phone, row.country or opened.settings.brand.country) if row.phone else None
        emails |= {email} if email else set()
        phones |= {phone} if phone else set()
    return emails, phones, known


async def _ask_providers(opened: Opened, person: Person, known: erasing.Known, *, again: bool) -> list[str]:
    """Ask each provider to erase what it keeps; return what they did not do. What they say never stops us.

    Whoever was forgotten before is asked for ``again`` by address: the first time it may not have been heard.
    """
    told: list[str] = []
    wanted = ((Channel.EMAIL, person.emails, known.mails), (Channel.SMS, person.phones, known.texts))
    for channel, addresses, provider_ids in wanted:
        if not provider_ids and not (again and addresses and channel is Channel.EMAIL):
            continue
        try:
            provider = opened.provider(channel)
        except TidingsError as mistake:
            told.append(f"{channel.value}: the provider was not asked ({mistake})")
            continue
        try:
            told += await provider.forget(sorted(addresses), provider_ids)
        finally:
            await provider.close()
    return told
