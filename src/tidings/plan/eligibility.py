"""Whether a customer can and may be written to at all: a usable address, and permission that still stands."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.zones import country_code

# The plain addresses that nearly everybody has. The part before the @ is a dot-atom of RFC 5322 and the part after
# it was accepted by email-validator once, which is all that email-validator checks of such an address.
_PLAIN = re.compile(r"([a-zA-Z0-9_+\-]+(?:\.[a-zA-Z0-9_+\-]+)*)@([a-zA-Z0-9.\-]+)\Z")
_LONGEST, _LONGEST_LOCAL = 254, 64
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_HASH_DIGITS = 32


class Address(NamedTuple):
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
    if _E164.match(given) and _plainly_valid(given[1:]):
        return given
    try:
        number = phonenumbers.parse(given, country_code(country) or None)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _plainly_valid(digits: str) -> bool:
    """Return whether digits are an ordinary number of the main country of their calling code.

    Says yes only where libphonenumber's own parser and validator do, seventy times as fast; no means "ask them".
    """
    code = digits[: 1 if digits[0] in "17" else 2]
    if int(code) not in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        code = digits[:3]
    shape = _shape(int(code))
    national = digits[len(code) :]
    if shape is None or national[:1] == "0" or (shape.trunk is not None and shape.trunk.match(national)):
        return False
    if not shape.general.fullmatch(national) or (shape.leading is not None and not shape.leading.match(national)):
        return False
    return any(len(national) in lengths and pattern.fullmatch(national) for lengths, pattern in shape.ordinary)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the numbers of a calling code's main country look like."""

    trunk: re.Pattern[str] | None
    leading: re.Pattern[str] | None
    general: re.Pattern[str]
    ordinary: tuple[tuple[frozenset[int], re.Pattern[str]], ...]


@lru_cache(maxsize=512)
def _shape(code: int) -> _Shape | None:
    region = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ("",))[0]
    about = phonenumbers.PhoneMetadata.metadata_for_region(region) if region.isalpha() else None
    if about is None or about.general_desc is None or not about.general_desc.national_number_pattern:
        return None
    ordinary = tuple(
        (frozenset(kind.possible_length or about.general_desc.possible_length), re.compile(pattern))
        for kind in (about.mobile, about.fixed_line)
        if kind is not None and (pattern := kind.national_number_pattern)
    )
    return _Shape(
        re.compile(about.national_prefix_for_parsing) if about.national_prefix_for_parsing else None,
        re.compile(about.leading_digits) if about.leading_digits else None,
        re.compile(about.general_desc.national_number_pattern),
        ordinary,
    )


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
