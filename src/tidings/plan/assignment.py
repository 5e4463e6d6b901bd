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
    """Return the arm of one canonical person, as ``Split`` does."""
    return Split(salt, holdout, variants).of(customer_id)


class Split:
    """A campaign's arms, ready to be asked often.

    A larger holdout keeps everybody that a smaller one held out. Variants take their shares in the order of their
    names, whatever order the file has them in; whoever is left over by shares below 100% has none.
    """

    __slots__ = ("_arms", "_holdout", "_salt", "_variants")

    def __init__(self, salt: str, holdout: Fraction, variants: Mapping[str, Fraction]) -> None:
        names = sorted(variants)
        reached = accumulate(variants[name] for name in names)
        self._salt = salt
        self._holdout = _bound(holdout)
        self._variants = tuple((_bound(share), name) for share, name in zip(reached, names, strict=True))
        self._arms = {(arm, name): Assignment(arm, name) for arm in (TREATED, HELD_OUT) for name in ("", *names)}

    def of(self, customer_id: str) -> Assignment:
        """Return the arm of one canonical person."""
        held_out = self._holdout > 0 and draw(self._salt, customer_id) < self._holdout
        return self._arms[HELD_OUT if held_out else TREATED, self._variant(customer_id)]

    def _variant(self, customer_id: str) -> str:
        if not self._variants:
            return ""
        drawn = draw(f"{self._salt}|variant", customer_id)
        for upper, name in self._variants:
            if drawn < upper:
                return name
        return ""


def _bound(share: Fraction) -> int:
    """Return the number below which a draw falls with this probability."""
    return share.numerator * _WHOLE // share.denominator
