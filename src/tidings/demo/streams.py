"""Where the demo's chance comes from: one seeded stream per subject, so that one part can change without the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Texts = NDArray[np.object_]

MINUTE = 60
HOUR = 3600
DAY = 86400


def stream(seed: int, subject: str) -> np.random.Generator:
    """Return the generator of random numbers for one subject; the same seed and subject give the same numbers."""
    digest = hashlib.sha256(f"{seed}|{subject}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def fate(seed: int, *parts: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the seed and these words: what fate holds for someone."""
    digest = hashlib.sha256("|".join((str(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class Frame:
    """The stretch of time the shop is made for; seconds since 1970. Rows after ``now`` are held back as pending."""

    start: int
    now: int
    end: int

    @classmethod
    def until(cls, now: datetime, days: int = 28, ahead: timedelta = timedelta(hours=24)) -> Frame:
        """Return the frame of the ``days`` before ``now`` and a little of what comes after."""
        second = int(now.timestamp())
        return cls(second - days * DAY, second, second + int(ahead.total_seconds()))
