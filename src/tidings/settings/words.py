"""The words of tidings.yaml that are neither numbers nor durations, each checked once with its rule in the error."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_COLOUR = re.compile(r"^#[0-9A-Fa-f]{6}$")
_COUNTRY = re.compile(r"^[A-Z]{2}$")
_CURRENCY = re.compile(r"^[A-Z]{3}$")
_EMAIL = re.compile(r"^[^@\s\"<>]+@[^@\s\"<>]+\.[^@\s\"<>]+$")
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,59}$")
_PHONE = re.compile(r"^\+[1-9]\d{6,14}$")
_DOMAIN = re.compile(r"^([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$")
_SELECTOR = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
_LOCALE = re.compile(r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$")


def found(value: object) -> str:
    """Return what a person wrote as an error shows it: short, in quotes, on one line, without people in it."""
    text = " ".join(str(value).split())
    text = re.sub(r"[^\s\"@:/]+@", "…@", re.sub(r"://[^@\s/]*@", "://…@", text))
    return f'"{text[:57]}..."' if len(text) > 60 else f'"{text}"'


def _matching(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise ValueError(f"{rule}; found {found(value)}")
        return value

    return AfterValidator(check)


@cache
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return "/" in name or name == "UTC"


def zone(value: str) -> str:
    """Return an IANA time zone name. Raises ValueError that names the rule."""
    if not _is_zone(value):
        raise ValueError(f'must be a time zone such as "Europe/Helsinki"; found {found(value)}')
    return value


def web_address(value: str) -> str:
    """Return an http or https address without a trailing slash. Raises ValueError that names the rule."""
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username or re.search(r"\s", value):
        raise ValueError(f'must be a web address such as "https://shop.example"; found {found(value)}')
    return value.rstrip("/")


def recipient(value: str) -> str:
    """Return an allow-list item: an e-mail address, a whole domain ("@example.com") or a phone number."""
    if _EMAIL.match("x" + value) or _PHONE.match(value):
        return value.lower()
    raise ValueError('must be an e-mail address, a domain such as "@example.com" or a phone number such as "+35840..."')


def phone(value: object) -> object:
    """Return the sender's number as text; an unquoted number without + is named as the mistake it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f'must be a phone number in quotes such as "+358401234567"; found {found(value)}')
    return value


Colour = Annotated[str, _matching(_COLOUR, 'must be a colour such as "#1F3D36"')]
Country = Annotated[str, _matching(_COUNTRY, 'must be a two-letter country code such as "FI"')]
Currency = Annotated[str, _matching(_CURRENCY, 'must be a three-letter currency code such as "EUR"')]
Domain = Annotated[str, _matching(_DOMAIN, 'must be a domain such as "em123.shop.example"')]
Email = Annotated[str, _matching(_EMAIL, 'must be an e-mail address such as "hello@shop.example"')]
Name = Annotated[str, _matching(_NAME, "must be lower-case letters, digits and _, starting with a letter, at most 60")]
Locale = Annotated[str, _matching(_LOCALE, 'must be a locale such as "en" or "de_AT"')]
Phone = Annotated[
    str, BeforeValidator(phone), _matching(_PHONE, 'must be a phone number in quotes such as "+358401234567"')
]
Recipient = Annotated[str, AfterValidator(recipient)]
Selector = Annotated[str, _matching(_SELECTOR, 'must be a DKIM selector such as "s1"')]
WebAddress = Annotated[str, AfterValidator(web_address)]
Zone = Annotated[str, AfterValidator(zone)]


class Section(BaseModel):
    """A group of keys: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)
