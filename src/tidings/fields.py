"""The words people write in YAML, durations, shares, money and clock times, turned into values once, at the border."""

from __future__ import annotations

import re
from datetime import time, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from tidings.model.money import minor

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhdw])$")
_CURRENCY = re.compile(r"^[A-Z]{3}$")


def duration(text: object) -> timedelta:
    """Return "90d", "1h", "15m" or "0h" as a timedelta. Raises ValueError that names the rule."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.match(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'must be a duration such as "90d" or "1h"; found {_shown(text)}')
    try:
        return timedelta(**{_UNITS[found[2]]: float(found[1])})
    except OverflowError:
        raise ValueError(f"must be a duration below a million days; found {_shown(text)}") from None


def written(length: timedelta) -> str:
    """Return a timedelta the way people write it: "90d", "36h", "15m"."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0 and (seconds or unit == "h"):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def share(value: object) -> Fraction:
    """Return "10%", 0.1 or "0.1" as an exact fraction from 0 to 1."""
    if isinstance(value, Fraction):
        return value
    try:
        if isinstance(value, bool):
            raise InvalidOperation
        if isinstance(value, str) and value.strip().endswith("%"):
            found = Fraction(Decimal(value.strip()[:-1])) / 100
        else:
            found = Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f'must be a share such as "10%"; found {_shown(value)}') from None
    if not 0 <= found <= 1:
        raise ValueError(f"must be a share from 0% to 100%; found {_shown(value)}")
    return found


def amounts(value: object) -> dict[str, int]:
    """Return {"EUR": 20, "USD": 25} (major units) as minor units per currency."""
    if not isinstance(value, dict):
        raise ValueError(f"must be an amount per currency such as {{EUR: 20}}; found {_shown(value)}")
    found: dict[str, int] = {}
    for currency, amount in value.items():
        if not isinstance(currency, str) or not _CURRENCY.match(currency):
            raise ValueError(f'must use three-letter currency codes such as "EUR"; found {_shown(currency)}')
        try:
            if isinstance(amount, bool):
                raise InvalidOperation
            parsed = Decimal(str(amount))
            if not parsed.is_finite() or parsed < 0:
                raise InvalidOperation
        except InvalidOperation:
            raise ValueError(f"must be an amount of at least 0; found {_shown(amount)} for {currency}") from None
        found[currency] = minor(parsed, currency)
    return found


def clock_time(value: object) -> time:
    """Return "21:00" as a naive wall-clock time."""
    if isinstance(value, time):
        return value
    try:
        if not isinstance(value, str):
            raise ValueError
        return time.fromisoformat(value)
    except ValueError:
        # YAML 1.1 reads 21:00 without quotes as the number 1260.
        raise ValueError(f'must be a clock time in quotes such as "21:00"; found {_shown(value)}') from None


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str | int | float | Decimal) else str(value)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError(f'must be longer than zero; found "{written(value)}"')
    return value


def _percent(value: Fraction) -> str:
    return f"{float(value * 100):g}%"


def _untouched(value: Any) -> Any:
    return value


Duration = Annotated[timedelta, BeforeValidator(duration), PlainSerializer(written)]
PositiveDuration = Annotated[timedelta, BeforeValidator(duration), AfterValidator(_positive), PlainSerializer(written)]
Share = Annotated[Fraction, BeforeValidator(share), PlainSerializer(_percent)]
Amounts = Annotated[dict[str, int], BeforeValidator(amounts), PlainSerializer(_untouched)]
ClockTime = Annotated[time, BeforeValidator(clock_time), PlainSerializer(lambda at: at.strftime("%H:%M"))]
