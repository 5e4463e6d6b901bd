"""Words from outside made harmless: one line, no control or direction characters, valid Unicode, bounded."""

from __future__ import annotations

import re
import unicodedata

_BREAKS = re.compile("[\\s\u0085\u2028\u2029]+")
# Control characters, direction marks, embeddings, overrides and isolates, byte order marks, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e001f]"
)
_ZWJ = "\u200d"


def one_line(text: str, limit: int = 200) -> str:
    """Return text as one harmless line of at most ``limit`` characters, never cut inside a grapheme."""
    if len(text) <= limit:
        # What can be printed holds nothing unseen, and no space but the plain one.
        bare = text.strip()
        if bare.isprintable() and (bare.isascii() or unicodedata.is_normalized("NFC", bare)):
            return bare if "  " not in bare else " ".join(bare.split())
    # A name of a megabyte is cut before it is looked at; eight code points a character is generous.
    text = unicodedata.normalize("NFC", _UNSEEN.sub("", text[: limit * 8]))
    text = _BREAKS.sub(" ", text).strip()
    return text if len(text) <= limit else cut(text, limit)


def cut(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, without splitting a base from its marks or a joined emoji."""
    end = limit
    while end > 0 and end < len(text) and _continues(text, end):
        end -= 1
    return text[:end].rstrip()


def readable(text: str) -> str:
    """Return text of several lines in valid Unicode without control or direction characters."""
    if text.isascii() and _UNSEEN.search(text) is None:
        return text
    return unicodedata.normalize("NFC", _UNSEEN.sub("", text))


def _continues(text: str, at: int) -> bool:
    here = text[at]
    return (
        unicodedata.category(here).startswith("M")
        or here == _ZWJ
        or text[at - 1] == _ZWJ
        or "\U0001f3fb" <= here <= "\U0001f3ff"
        or ("\U0001f1e6" <= here <= "\U0001f1ff" and _odd_flags_before(text, at))
    )


def _odd_flags_before(text: str, at: int) -> bool:
    start = at
    while start > 0 and "\U0001f1e6" <= text[start - 1] <= "\U0001f1ff":
        start -= 1
    return (at - start) % 2 == 1
