"""Whether a customer can and may be written to at all: a usable address, and permission that still stands."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.zones import country_code

if TYPE_CHECKING:
    from hashlib import _Hash

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
    if _E164.match(given):
        start = 2 if given[1] in "17" else 3
        ordinary = _ordinary(given[1:start])
        if ordinary is None:
            start, ordinary = 4, _ordinary(given[1:4])
        if ordinary is not None and ordinary.match(given, start):
            return given
    try:
        number = phonenumbers.parse(given, country_code(country) or None)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=2048)
def _ordinary(code: str) -> re.Pattern[str] | None:
    """Return what the ordinary numbers of a calling code's main country look like; None when it is no such code.

    It matches only where libphonenumber's parser leaves the digits alone and its validator says yes, and is many
    times as fast; a number that it does not match is theirs to judge.
    """
    region = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code), ("",))[0]
    about = phonenumbers.PhoneMetadata.metadata_for_region(region) if region.isalpha() else None
    if about is None or about.general_desc is None or not about.general_desc.national_number_pattern:
        return None
    kinds = [
        f"(?={_of_length(kind.possible_length or about.general_desc.possible_length)}){_group(pattern)}\\Z"
        for kind in (about.mobile, about.fixed_line)
        if kind is not None and (pattern := kind.national_number_pattern)
    ]
    trunk = f"(?!{_group(about.national_prefix_for_parsing)})" if about.national_prefix_for_parsing else ""
    leading = f"(?={_group(about.leading_digits)})" if about.leading_digits else ""
    general = f"(?={_group(about.general_desc.national_number_pattern)}\\Z)"
    return re.compile(f"(?!0){trunk}{leading}{general}(?:{'|'.join(kinds)})") if kinds else None


def _group(pattern: str) -> str:
    return f"(?:{pattern})"


def _of_length(lengths: Sequence[int]) -> str:
    return _group("|".join(f"[0-9]{{{length}}}\\Z" for length in lengths))


def address_hash(value: str, pepper: bytes) -> str:
    """Return the keyed hash of a sendable address (HMAC-SHA256, 32 hex digits), the same for any case of letters."""
    inner, outer = _keyed(pepper)
    inside, outside = inner.copy(), outer.copy()
    inside.update(value.lower().encode())
    outside.update(inside.digest())
    return outside.hexdigest()[:_HASH_DIGITS]


@lru_cache(maxsize=16)
def _keyed(pepper: bytes) -> tuple[_Hash, _Hash]:
    """Return HMAC's two hashes with the key taken in, which the standard library does anew for every message."""
    key = (sha256(pepper).digest() if len(pepper) > 64 else pepper).ljust(64, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in key)), sha256(bytes(byte ^ 0x5C for byte in key))


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
    found = permission(consents, channel, purposes, at)
    return None if found is None else found.at


def permission(
    consents: Iterable[Consent], channel: Channel, purposes: Collection[str], at: datetime
) -> Consent | None:
    """Return the statement that ``may_contact`` relies on (the earliest of several that stand), or None."""
    latest: dict[str, Consent] = {}
    for consent in consents:
        if consent.channel != channel or consent.purpose not in purposes or consent.at > at:
            continue
        known = latest.get(consent.purpose)
        if known is None or (consent.at, not consent.granted) > (known.at, not known.granted):
            latest[consent.purpose] = consent
    standing = [consent for consent in latest.values() if consent.granted]
    return min(standing, key=_given, default=None) if len(standing) != 1 else standing[0]


def _given(consent: Consent) -> tuple[datetime, str]:
    return consent.at, consent.purpose


def refused(consents: Iterable[Consent], channel: Channel, purpose: str, at: datetime) -> bool:
    """Return whether the latest statement about a purpose is a withdrawal: a "no", which is more than no "yes"."""
    said = [
        (one.at, not one.granted)
        for one in consents
        if one.channel == channel and one.purpose == purpose and one.at <= at
    ]
    return max(said)[1] if said else False


def allow_listed(value: str, allowed: Collection[str]) -> bool:
    """Return whether an address is on the allow-list: itself, or its domain written as "@example.com"."""
    wanted = value.lower()
    entries = {entry.strip().lower() for entry in allowed}
    return wanted in entries or ("@" in wanted and wanted[wanted.rindex("@") :] in entries)
