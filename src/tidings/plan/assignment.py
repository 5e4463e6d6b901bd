"""Which arm a customer is in: fixed by a hash of the campaign's salt and the person, so it never changes by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

TREATED = "treated"
HELD_OUT = "held_out"
_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class Assignment:
    """Treated or held out, and the content variant ("" when the campaign tests none).

    A held-out customer has a variant too, the one they would have been sent, drawn independently of the arm.
    """

    arm: str
    variant: str


def draw(salt: str, unit: str) -> int:
    """Return a number from 0 to 2**64 - 1, uniform over units and independent between salts (measurement 4.3)."""
    return int.from_bytes(sha256(f"{salt}|{unit}".encode()).digest()[:8], "big")


def share_of(salt: str, unit: str) -> float:
    """Return the draw as a share, at least 0 and below 1."""
    return (draw(salt, unit) >> 11) / 2**53  # the 53 bits a float can hold, so that it never rounds up to 1


def assign(salt: str, customer_id: str, holdout: Fraction, variants: Mapping[str, Fraction]) -> Assignment:
    """Return the arm of one canonical person.

    A larger holdout keeps everybody that a smaller one held out. Variants share the whole in proportion to their
    numbers, in the order of their names, whatever order the file has them in.
    """
    held_out = draw(f"{salt}|arm", customer_id) < holdout * _WHOLE if holdout else False
    return Assignment(HELD_OUT if held_out else TREATED, _variant(salt, customer_id, variants) if variants else "")


def _variant(salt: str, customer_id: str, variants: Mapping[str, Fraction]) -> str:
    at = draw(f"{salt}|variant", customer_id) * sum(variants.values(), Fraction(0))
    reached = Fraction(0)
    names = sorted(name for name, share in variants.items() if share > 0)
    for name in names:
        reached += variants[name] * _WHOLE
        if at < reached:
            return name
    raise ValueError("variants: one of them must have a share above 0%")
