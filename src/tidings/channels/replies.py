"""What an incoming text asks for, by exact rules over the whole of it: a word inside a sentence is never an opt-out."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any

# A longer text says more than one of these words.
_LONGEST = 400


class Wish(StrEnum):
    """What somebody who answered a text wants. ``OTHER`` is for a person to read."""

    STOP = "stop"
    START = "start"
    YES = "yes"
    HELP = "help"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one version of the rules, folded once."""

    version: str
    exact: Mapping[str, Wish]
    patterns: tuple[re.Pattern[str], ...]
    polite: tuple[tuple[str, ...], ...]
    signatures: tuple[str, ...]
    lookalikes: Mapping[int, str]
    obeyed_by_twilio: frozenset[str]


def wish(text: str, told: str = "") -> Wish:
    """Return what a text asks for. ``told`` is the provider's own reading (Twilio's OptOutType), which wins.

    Only a text that is nothing but such a word or phrase counts, whatever its case, width, accents, punctuation,
    lookalike letters and polite words around it.
    """
    if told.strip().upper() in ("STOP", "START", "HELP"):
        return Wish(told.strip().lower())
    words = rules()
    if len(text) > _LONGEST:
        return Wish.OTHER
    for reading in _readings(text, words):
        if not reading:
            continue
        known = words.exact.get(reading)
        if known is not None:
            return known
        if any(pattern.fullmatch(reading) for pattern in words.patterns):
            return Wish.STOP
    return Wish.OTHER


def answered_by_twilio(text: str, told: str = "") -> bool:
    """Return whether Twilio obeys and answers this text itself: it says so, or it is one of its own single words."""
    return bool(told.strip()) or text.strip().upper() in rules().obeyed_by_twilio


def folded(text: str, lookalikes: Mapping[int, str] | None = None) -> str:
    """Return a text in one width and case, without accents, marks and punctuation, its words one space apart."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if lookalikes is not None:
        plain = plain.translate(lookalikes)
    plain = plain.replace("'", "").replace("’", "").replace("`", "")
    bare = "".join(
        one if one.isalnum() else "" if unicodedata.category(one) in ("Mn", "Cf") else " "
        for one in unicodedata.normalize("NFD", plain)
    )
    words = bare.split()
    # "S T O P" and "S.T.O.P." are spelled out.
    return "".join(words) if len(words) > 2 and all(len(word) == 1 for word in words) else " ".join(words)


def _readings(text: str, words: Words) -> Iterable[str]:
    own = _own_words(text, words.signatures)
    yield _without_politeness(folded(own), words.polite)
    yield _without_politeness(folded(own, words.lookalikes), words.polite)


def _own_words(text: str, signatures: tuple[str, ...]) -> str:
    lines: list[str] = []
    for line in text.strip().splitlines():
        if any(map(folded, lines)) and (line.strip().startswith("--") or folded(line).startswith(signatures)):
            break
        lines.append(line)
    return " ".join(lines)


def _without_politeness(reading: str, polite: Sequence[tuple[str, ...]]) -> str:
    words = tuple(reading.split())
    again = True
    while again:
        again = False
        for one in polite:
            n = len(one)
            if len(words) > n and words[:n] == one:
                words, again = words[n:], True
            if len(words) > n and words[-n:] == one:
                words, again = words[:-n], True
    return " ".join(words)


@lru_cache(maxsize=1)
def rules() -> Words:
    """Return the rules that come with the package."""
    return read(resources.files("tidings.channels").joinpath("replies.toml").read_text(encoding="utf-8"))


def read(text: str) -> Words:
    """Return the rules of a file. Raises ValueError when a word would mean two things."""
    given = tomllib.loads(text)
    lookalikes = {ord(drawn): letter for alphabet in given["lookalikes"].values() for drawn, letter in alphabet.items()}
    exact: dict[str, Wish] = {}
    for kind in (Wish.STOP, Wish.START, Wish.YES, Wish.HELP):
        for word in _all(given[kind.value]):
            for reading in {folded(word), folded(word, lookalikes)}:
                if exact.setdefault(reading, kind) is not kind:
                    raise ValueError(f'replies: "{word}" must mean one thing; found {exact[reading]} and {kind}')
    patterns = tuple(re.compile(_folded_pattern(one)) for one in _all(given["stop_patterns"]))
    polite = sorted((tuple(folded(one).split()) for one in given["polite"]["words"]), key=len, reverse=True)
    signatures = tuple(begun for one in given["signature"]["begins"] if (begun := folded(one)))
    twilio = frozenset(word for words in given["twilio"].values() for word in words)
    return Words(given["version"], exact, patterns, tuple(polite), signatures, lookalikes, twilio)


def _all(by_language: Mapping[str, Any]) -> list[str]:
    return [word for words in by_language.values() for word in words]


def _folded_pattern(pattern: str) -> str:
    marks = unicodedata.normalize("NFD", pattern.casefold())
    return "".join(one for one in marks if unicodedata.category(one) != "Mn")
