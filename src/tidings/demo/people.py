"""Who buys at the demo shop: customers of many scripts and places, with addresses good, missing and broken."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from tidings.demo.places import BAD_ADDRESSES, BAD_PHONES, HOSTILE_NAMES, NAMES, PLACES
from tidings.demo.streams import DAY, Floats, Frame, Ints, Texts, stream


@dataclass(frozen=True, slots=True)
class People:
    """Customers as columns; empty text means the shop does not know. ``age`` is the days from the last order before
    the frame to its end (negative: never bought); ``activity`` is how often they visit."""

    email: Texts
    phone: Texts
    first: Texts
    last: Texts
    place: Ints
    created: Ints
    age: Floats
    activity: Floats
    offset: Ints
    market: Ints
    staff: Ints

    def __len__(self) -> int:
        return len(self.email)


def _latin(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain.lower() if letter.isalnum())


def _phones(template: str, count: int, random: np.random.Generator) -> list[str]:
    digits = random.integers(0, 10, (count, template.count("#")))
    free = template.count("*")
    leading = random.integers(2, 10, (count, free))
    found = []
    for row, lead in zip(digits.tolist(), leading.tolist(), strict=True):
        places, leads = iter(row), iter(lead)
        found.append("".join(str(next(places)) if c == "#" else str(next(leads)) if c == "*" else c for c in template))
    return found


def _ages(count: int, random: np.random.Generator) -> Floats:
    """Days since the last order before the frame. The spring collection brought a wave, so that lapses of three to
    five months come in every day of the frame, and steadily."""
    stretch = random.choice(4, size=count, p=[0.25, 0.23, 0.27, 0.25])
    low, high = np.array([0, 28, 85, 180])[stretch], np.array([0, 85, 180, 364])[stretch]
    age: Floats = low + (high - low) * random.random(count)
    age[stretch == 0] = -1
    return age


def _named(place: Ints, random: np.random.Generator) -> tuple[Texts, Texts]:
    first = np.empty(len(place), dtype=object)
    last = first.copy()
    for number, where in enumerate(PLACES):
        here = np.flatnonzero(place == number)
        firsts, lasts = ([word.replace("_", " ") for word in words.split()] for words in NAMES[where.names])
        first[here] = np.array(firsts, dtype=object)[random.integers(0, len(firsts), len(here))]
        last[here] = np.array(lasts, dtype=object)[random.integers(0, len(lasts), len(here))]
    return first, last


def people(frame: Frame, seed: int, count: int) -> People:
    """Return the customers of the shop."""
    random = stream(seed, "people")
    weights = np.array([place.weight for place in PLACES])
    place = random.choice(len(PLACES), size=count, p=weights / weights.sum())
    first, last = _named(place, random)
    phone = np.full(count, "", dtype=object)
    for number, where in enumerate(PLACES):
        here = np.flatnonzero(place == number)
        phone[here] = _phones(where.phone, len(here), random)
    phone[random.random(count) < 0.35] = ""
    email = np.array(
        [
            f"{_latin(a) or 'guest'}.{_latin(b) or 'f'}.{n}@post.example"
            for n, (a, b) in enumerate(zip(first, last, strict=True))
        ],
        dtype=object,
    )
    email[random.random(count) < 0.04] = ""
    _spoil(email, phone, first, random)
    age = _ages(count, random)
    # People come back while they remember: who bought lately visits often, who lapsed visits now and then.
    pace = np.select([age < 0, age < 60, age < 120], [0.8, 1.6, 0.7], 0.35)
    at = datetime.fromtimestamp(frame.now, UTC)
    offsets = [int(at.astimezone(ZoneInfo(where.zone)).utcoffset().total_seconds()) for where in PLACES]  # type: ignore[union-attr]
    known = np.maximum(age, 0) + 30 + 700 * random.random(count)
    staff = np.zeros(count, dtype=np.int64)
    staff[random.permutation(count)[: max(count // 1000, 1)]] = 1
    return People(
        email, phone, first, last, place,
        created=frame.now - (known * DAY).astype(np.int64),
        age=age,
        activity=pace * random.gamma(1.3, size=count),
        offset=np.array(offsets)[place],
        market=np.array([where.market for where in PLACES])[place],
        staff=staff,
    )  # fmt: skip


def _spoil(email: Texts, phone: Texts, first: Texts, random: np.random.Generator) -> None:
    """Break a few addresses and names in place, and let some people share a mailbox."""
    count = len(email)
    for column, words, share in (
        (email, BAD_ADDRESSES, 0.008),
        (phone, BAD_PHONES, 0.015),
        (first, HOSTILE_NAMES, 0.004),
    ):
        for n, who in enumerate(random.permutation(count)[: int(count * share)]):
            column[who] = words[n % len(words)]
    pairs = random.permutation(count)[: int(count * 0.005) * 2].reshape(-1, 2)
    email[pairs[:, 0]] = email[pairs[:, 1]]
