"""Whether a customer can and may be written to at all: a usable address, and permission that still stands."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.zones import country_code

# The plain addresses that nearly everybody has. The part before the @ is a dot-atom of RFC 5322 and the part after
# it was accepted by email-validator once, which is all that email-validator checks of such an address.
_PLAIN = re.compile(r"([a-zA-Z0-9_+\-]+(?:\.[a-zA-Z0-9_+\-]+)*)@([a-zA-Z0-9.\-]+)\Z")
_LONGEST, _LONGEST_LOCAL = 254, 64
_HASH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message goes, as it is handed over, and the keyed hash by which the ledger knows it."""

    value: str
    hash: str


def address(
    customer: Customer, channel: Channel, pepper: bytes, brand_country: str | None = None
) -> Address | SkipReason:
    """Return the customer's address on the channel, or NO_ADDRESS or BAD_ADDRESS.

    A national phone number is read in the customer's country, or in the brand's when they have none.
    """
    given = customer.email if channel == Channel.EMAIL else customer.phone
    if given is None or not given.strip():
        return SkipReason.NO_ADDRESS
    value = email_address(given) if channel == Channel.EMAIL else phone_number(given, customer.country or brand_country)
    if value is None:
        return SkipReason.BAD_ADDRESS
    return Address(value, address_hash(value, pepper))


def email_address(given: str) -> str | None:
    """Return an address as it is sent: the local part as given, the domain in ASCII and lower case; None if malformed.

    DNS is not asked. A local part beyond ASCII is refused, as SendGrid delivers to none.
    """
    plain = _PLAIN.match(given)
    if plain is not None and len(given) <= _LONGEST and len(plain[1]) <= _LONGEST_LOCAL:
        domain = _domain(plain[2])
        return None if domain is None else f"{plain[1]}@{domain}"
    return _ascii_address(given.strip())


def _ascii_address(given: str) -> str | None:
    try:
        return validate_email(given, check_deliverability=False, allow_smtputf8=False).ascii_email
    except (EmailNotValidError, UnicodeError):
        return None


@lru_cache(maxsize=65_536)
def _domain(domain: str) -> str | None:
    found = _ascii_address(f"a@{domain}")
    return None if found is None else found[2:]


def phone_number(given: str, country: str | None) -> str | None:
    """Return a number as E.164, read in the customer's country unless it begins with +; None when it is not valid."""
    try:
        number = phonenumbers.parse(given, country_code(country) or None)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def address_hash(value: str, pepper: bytes) -> str:
    """Return the keyed hash of a sendable address (HMAC-SHA256, 32 hex digits), the same for any case of letters."""
    return hmac.digest(pepper, value.lower().encode(), "sha256").hex()[:_HASH_DIGITS]


def may_contact(consents: Iterable[Consent], channel: Channel, purposes: Collection[str], at: datetime) -> bool:
    """Return whether one of the purposes was granted for the channel, and still stands at that time.

    Per purpose the latest statement wins, and a withdrawal wins over a grant of the same moment; statements later
    than ``at`` are not known yet; nothing said means no.
    """
    return consented_since(consents, channel, purposes, at) is not None


def consented_since(
    consents: Iterable[Consent], channel: Channel, purposes: Collection[str], at: datetime
) -> datetime | None:
    """Return when the permission that ``may_contact`` finds was given (the earliest of several), or None."""
    latest: dict[str, Consent] = {}
    for consent in consents:
        if consent.channel != channel or consent.purpose not in purposes or consent.at > at:
            continue
        known = latest.get(consent.purpose)
        if known is None or (consent.at, not consent.granted) > (known.at, not known.granted):
            latest[consent.purpose] = consent
    return min((consent.at for consent in latest.values() if consent.granted), default=None)


def allow_listed(value: str, allowed: Collection[str]) -> bool:
    """Return whether an address is on the allow-list: itself, or its domain written as "@example.com"."""
    wanted = value.lower()
    entries = {entry.strip().lower() for entry in allowed}
    return wanted in entries or ("@" in wanted and wanted[wanted.rindex("@") :] in entries)
