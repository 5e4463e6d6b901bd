"""Digests of what a message said and stood on: keyed where somebody could otherwise try out whom they are about."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from tidings.content.templates import Rendered
from tidings.ledger.receipts import canonical
from tidings.model.entry import Entry
from tidings.model.people import Customer

if TYPE_CHECKING:
    from hashlib import _Hash

_DIGITS, _FIELD_DIGITS, _WORDS_DIGITS = 24, 6, 32
_MOST_KNOWN = 20_000
_PIECE = 2047  # bytes
# What differs for nearly everybody is digested for each message anew, so that it leads from none to the next.
_OWN = frozenset({"first_name", "last_name"})
_FIELDS = ("country", "first_name", "last_name", "locale", "zone")


class Digests:
    """Keyed digests: without the shop's pepper nobody can try out who or what they stand for."""

    def __init__(self, pepper: bytes) -> None:
        self._keyed = hashlib.sha256(b"tidings evidence 1\0" + len(pepper).to_bytes(4) + pepper)
        self._known: dict[tuple[str, str], str] = {}

    def entry(self, entry: Entry) -> str:
        """Return the digest of what the customer did, without the id it is kept under now."""
        said = orjson.dumps(
            (
                entry.key, entry.anchor_at, entry.entered_at, entry.sku, entry.items, entry.value, entry.currency,
                entry.market, entry.facts,
            ),
            option=orjson.OPT_SORT_KEYS,
        )  # fmt: skip
        return self._of(b"entry\0" + said, _DIGITS)

    def person(self, message_id: str, customer: Customer) -> dict[str, str]:
        """Return, per field that a template may show and that has a value, a short digest of it."""
        attributes = customer.attributes
        said = {} if not attributes else {"attributes": self._shared("attributes", canonical(dict(attributes)))}
        for name in _FIELDS:
            value = getattr(customer, name)
            if value is not None:
                said[name] = (
                    self._of(f"{name}\0{message_id}\0{value}".encode("utf-8", "surrogatepass"), _FIELD_DIGITS)
                    if name in _OWN
                    else self._shared(name, value)
                )
        return said

    def _shared(self, name: str, value: str) -> str:
        known = self._known.get((name, value))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            said = f"{name}\0{value}".encode("utf-8", "surrogatepass")
            known = self._known[name, value] = self._of(said, _FIELD_DIGITS)
        return known

    def _of(self, said: bytes, digits: int) -> str:
        digest = self._keyed.copy()
        digest.update(said)
        return digest.hexdigest()[:digits]


def sent_to(message_id: str, address_hash: str) -> str:
    """Return what says where a message went: another one for each message, so that it leads from none to the next."""
    return hashlib.sha256(f"{message_id}|{address_hash}".encode()).hexdigest()[:_DIGITS]


def words(rendered: Rendered) -> str:
    """Return the digest of a message's words, byte by byte."""
    # Part by part: one wide character in the text would make the whole page wide, and three times as dear.
    digest = hashlib.sha256()
    for name, part in (("", rendered.subject or ""), ("\0", rendered.html or ""), ("\0", rendered.text)):
        digest.update(name.encode())
        _take_in(digest, part)
    return digest.hexdigest()[:_WORDS_DIGITS]


def _take_in(digest: _Hash, part: str) -> None:
    # In pieces: from 2 KiB on Python lets other threads go on meanwhile, and to have the interpreter back costs more
    # than a page's digest.
    whole = memoryview(part.encode("utf-8", "surrogatepass"))
    for at in range(0, len(whole), _PIECE):
        digest.update(whole[at : at + _PIECE])
