"""Figures as people read them on the revenue pages: one way to write money, counts, shares and moments."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from tidings.model.money import exponent

DASH = "–"
MINUS = "−"
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}


def number(value: int | None) -> str:
    """Return 1234 as "1,234", with a true minus."""
    return DASH if value is None else f"{value:,}".replace("-", MINUS)


def money(minor: float | None, currency: str, *, sign: bool = False) -> str:
    """Return minor units: "€4.20", whole from 100 on, "−€600"; a plus when asked for."""
    if minor is None:
        return DASH
    places = exponent(currency)
    major = abs(Decimal(str(round(minor, 6))).scaleb(-places))
    text = f"{major:,.0f}" if round(major, places) >= 100 or places == 0 else f"{major:,.{places}f}"
    nothing = not text.strip("0.,")
    before = "" if nothing else MINUS if minor < 0 else "+" if sign else ""
    return f"{before}{symbol(currency)}{text}"


def symbol(currency: str) -> str:
    """Return the currency's sign before an amount, its code where there is none."""
    return _SYMBOLS.get(currency, f"{currency} ")


def share(part: float, whole: float) -> str:
    """Return a share with one decimal; a dash when there is no whole."""
    return f"{100 * part / whole:.1f}%" if whole else DASH


def major(minor: float, currency: str) -> float:
    """Return minor units in the currency's own unit, for charts."""
    return float(minor / 10.0 ** exponent(currency))


def short(value: float) -> str:
    """Return a round amount for a scale: 30000 as "30k"."""
    for size, letter in ((1e6, "m"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}".replace("-", MINUS)
    return f"{value:g}".replace("-", MINUS)


def moment(at: datetime, zone: str) -> str:
    """Return "21 Nov 09:00 EET"."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %H:%M %Z}"


def period(start: datetime, end: datetime, zone: str, *, year: bool = False) -> str:
    """Return the days of a half-open period on the shop's calendar: "24 Oct – 20 Nov 2026"."""
    first, last = days(start, end, zone)
    before = f" {first.year}" if year and first.year != last.year else ""
    after = f" {last.year}" if year else ""
    return f"{_day(first)}{before} {DASH} {_day(last)}{after}"


def days(start: datetime, end: datetime, zone: str) -> tuple[date, date]:
    """Return the first and last day of a half-open period on the shop's calendar."""
    there = ZoneInfo(zone)
    return start.astimezone(there).date(), (end - timedelta(microseconds=1)).astimezone(there).date()


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"
