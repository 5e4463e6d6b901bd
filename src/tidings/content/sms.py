"""What a text message costs: GSM-7 or UCS-2, and how many segments it takes."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

MOST_CHARACTERS = 1600  # Twilio refuses a longer body (error 21617)

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENDED

# Typography that has a plain spelling; the meaning stays, the price halves.
_PLAIN = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "`": "'", "\u00b4": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2212": "-",
        "\u2026": "...", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " ", "\u2002": " ", "\u2003": " ",
        "\t": " ", "\u2022": "-", "\u00b7": "-", "\u00d7": "x",
    }
)  # fmt: skip
_LETTERS = str.maketrans(
    {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "ı": "i", "ẞ": "SS", "Œ": "OE", "œ": "oe", "Þ": "Th", "þ": "th"}
)


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text travels. ``units`` are septets (GSM-7) or UTF-16 code units (UCS-2); ``count`` is what is billed."""

    encoding: Literal["GSM-7", "UCS-2"]
    count: int
    units: int


def segments(text: str) -> Segments:
    """Return the encoding, the number of billed segments and the units of a text message."""
    if _GSM.issuperset(text):
        sizes = [2 if c in _EXTENDED else 1 for c in text]
        return Segments("GSM-7", _count(sizes, 160, 153), sum(sizes))
    sizes = [2 if ord(c) > 0xFFFF else 1 for c in text]
    return Segments("UCS-2", _count(sizes, 70, 67), sum(sizes))


def _count(sizes: list[int], alone: int, joined: int) -> int:
    if sum(sizes) <= alone:
        return 1 if sizes else 0
    count, room = 1, joined
    for size in sizes:  # an escape pair or a surrogate pair is never split over two segments
        if size > room:
            count, room = count + 1, joined
        room -= size
    return count


def plain(text: str) -> str:
    """Return the text with typographic quotes, dashes and spaces in their plain spelling."""
    return text if text.isascii() and "`" not in text and "\t" not in text else text.translate(_PLAIN)


def gsm(text: str) -> str:
    """Return the text with every letter that GSM-7 lacks replaced by its base letter; what has none stays."""
    text = plain(text).translate(_LETTERS)
    if _GSM.issuperset(text):
        return text
    return "".join(c if c in _GSM else _base(c) for c in text)


def _base(character: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFD", character) if not unicodedata.combining(c))
    return bare if bare and _GSM.issuperset(bare) else character
