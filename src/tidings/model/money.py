"""Money is an integer of minor units with its currency; nothing is ever lost to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

# ISO 4217 exponents that are not 2.
EXPONENTS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"), 0
    ),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def exponent(currency: str) -> int:
    """Return how many decimal places the currency has (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD."""
    return EXPONENTS.get(currency, 2)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units (cents) of one currency."""

    amount: int
    currency: str

    def major(self) -> Decimal:
        """Return the amount in major units (euros), exact."""
        return Decimal(self.amount).scaleb(-exponent(self.currency))


def minor(amount: Decimal | int | str, currency: str) -> int:
    """Return an amount of major units as minor units, half rounded away from zero."""
    scaled = Decimal(amount).scaleb(exponent(currency))
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def allocate(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Split ``total`` minor units by weight so that the parts add up exactly (largest remainder).

    Ties go to the earlier weight, so the caller's order decides. Negative totals (refunds) split as
    their positive counterparts do. Raises ValueError without a positive weight.
    """
    whole = sum((Fraction(weight) for weight in weights), Fraction(0))
    if whole <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights must be non-negative and one of them positive")
    size = abs(total)
    shares = [Fraction(weight) * size / whole for weight in weights]
    parts = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (parts[i] - shares[i], i))
    for i in by_remainder[: size - sum(parts)]:
        parts[i] += 1
    return [part if total >= 0 else -part for part in parts]
