"""Who holds a link: the person a message was for, under every id and address by which they can be known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidings.content.links import TokenKind
from tidings.errors import TidingsError
from tidings.jobs.opening import Opened
from tidings.ledger import engagements
from tidings.ledger import people as ledger_people
from tidings.ledger.engagements import Contact
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.eligibility import Address, address
from tidings.plan.erased import ERASED
from tidings.warehouse import people

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody behind a message. ``ids`` are theirs, the canonical one first; addresses are keyed hashes."""

    contact: Contact
    ids: tuple[str, ...]
    addresses: Mapping[Channel, str] = field(default_factory=dict)  # as the warehouse has them now
    others: Mapping[Channel, frozenset[str]] = field(default_factory=dict)  # who shares an address with them
    consents: tuple[Consent, ...] = ()
    customer: Customer | None = None
    silent: bool = False  # the warehouse did not answer

    def address(self, channel: Channel) -> str | None:
        """Return where they are reached now, or were by this message."""
        was = self.contact.address_hash if self.contact.channel == channel else None
        return self.addresses.get(channel) or was

    def hashes(self, channel: Channel) -> set[str]:
        """Return their address now, and the one this message went to."""
        was = self.contact.address_hash if self.contact.channel == channel else None
        return {one for one in (self.addresses.get(channel), was) if one}

    def own_subjects(self, channel: Channel) -> list[str]:
        """Return the subjects that an opening or closing of a channel is about: every id, every address."""
        return sorted({f"a:{one}" for one in self.hashes(channel)} | {f"p:{one}" for one in self.ids})

    subjects = own_subjects

    def sharing(self, channel: Channel) -> frozenset[str]:
        """Return the other people whom the ledger knows at their address."""
        return self.others.get(channel, frozenset()) - frozenset(self.ids)

    def reached_by(self, channel: Channel) -> bool:
        """Return whether they have an address on the channel."""
        return self.address(channel) is not None


def bearer(opened: Opened, token: str, *kinds: TokenKind) -> Contact | None:
    """Return whom the message was for whose link this is; None for other tokens, and for whom we have forgotten.

    Reads the ledger only.
    """
    told = opened.signer.read(token)
    if told is None or told.kind not in kinds:
        return None
    with opened.ledger.reading() as conn:
        found = engagements.contact_of(conn, told.message_id)
    return None if found is None or found.customer_id.startswith(ERASED) else found


def person(opened: Opened, contact: Contact) -> Person:
    """Return the person behind a message, as far as ledger and warehouse know them.

    A warehouse that does not answer is left out: then they are known by this message alone.
    """
    ids: tuple[str, ...] = (contact.customer_id,)
    found: dict[Channel, str] = {}
    consents: tuple[Consent, ...] = ()
    customer, silent = None, False
    try:
        customer = people.customers(opened.shop, ids).get(contact.customer_id)
        if customer is not None:
            ids = tuple(dict.fromkeys((customer.id, *customer.aliases, contact.customer_id)))
            consents = tuple(people.consents(opened.shop, ids))
            for channel in Channel:
                known = address(customer, channel, opened.secrets.pepper, opened.settings.brand.country)
                if isinstance(known, Address):
                    found[channel] = known.hash
    except TidingsError as trouble:
        silent = True
        log.warning("the warehouse did not answer about a person reason=%s", type(trouble).__name__)
    alone = Person(contact, ids, found, {}, consents)
    with opened.ledger.reading() as conn:
        for channel in Channel:
            if silent and channel != contact.channel:
                # Where they were written to before is all we know.
                known_before = sorted(ledger_people.addresses_of(conn, ids, channel))
                if len(known_before) == 1:
                    found[channel] = known_before[0]
        others = {
            channel: frozenset(ledger_people.sharing(conn, alone.hashes(channel))) - frozenset(ids)
            for channel in Channel
        }
    return Person(contact, ids, found, others, consents, customer, silent)


def widened(before: Person, after: Person, channel: Channel) -> bool:
    """Return whether more is known of a person than before, so that a closing has more to close."""
    return bool(set(after.subjects(channel)) - set(before.subjects(channel)))
