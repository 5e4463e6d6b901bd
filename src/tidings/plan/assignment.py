"""Which arm a customer is in: fixed by a hash of the campaign's salt and the person, so it never changes by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate

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

    A larger holdout keeps everybody that a smaller one held out. Variants take their shares in the order of their
    names, whatever order the file has them in; whoever is left over by shares below 100% has none.
    """
    held_out = bool(holdout) and draw(f"{salt}|arm", customer_id) < bound(holdout)
    variant = _variant(draw(f"{salt}|variant", customer_id), bounds(variants)) if variants else ""
    return Assignment(HELD_OUT if held_out else TREATED, variant)


def bound(share: Fraction) -> int:
    """Return the number below which a draw falls with this probability."""
    return share.numerator * _WHOLE // share.denominator


def bounds(variants: Mapping[str, Fraction]) -> tuple[tuple[int, str], ...]:
    """Return the upper bound of each variant's part of the draws."""
    names = sorted(variants)
    reached = accumulate(variants[name] for name in names)
    return tuple((bound(share), name) for share, name in zip(reached, names, strict=True))


def _variant(drawn: int, parts: tuple[tuple[int, str], ...]) -> str:
    return next((name for upper, name in parts if drawn < upper), "")
