"""The hours the law, the shop and the campaign leave open, most restrictive first; the law is a table of dated rows.

These are engineering defaults, not legal advice (timing rules 2.2). A row is never edited once it was in force:
it gets an end, and its successor a beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import lru_cache

from tidings.model.people import Channel
from tidings.plan.timing import Hours, Opening, QuietHours, SendWindow, Span, Week

# E-mail knows no legal hours; this is the soft default of a shop that states none of its own.
DEFAULT_QUIET = QuietHours(time(21), time(8))


@dataclass(frozen=True, slots=True)
class LegalHours:
    """One rule: the weekly hours in which a jurisdiction lets marketing be sent on a channel.

    ``jurisdiction`` is a country ("FR"), a state ("US-FL"), "US-?" for a US state we do not know, or "*" for every
    country without a row. In force from ``effective_from`` up to, not including, ``effective_to`` (local days;
    None: as far back, or ahead, as we know). ``zone``: read in this zone instead of the customer's. ``closed``
    names the days on which nothing is open.
    """

    rule_id: str
    jurisdiction: str
    channel: Channel
    week: Week
    source: str
    effective_from: date | None = None
    effective_to: date | None = None
    zone: str | None = None
    closed: Callable[[date], bool] | None = None


def _week(weekdays: Span, saturday: Span | None = None, sunday: Span | None = None) -> Week:
    def spans(hours: Span) -> tuple[Span, ...]:
        return ((hours[0] * 3600, hours[1] * 3600),) if hours[0] < hours[1] else ()

    saturday = weekdays if saturday is None else saturday
    return (*(spans(weekdays),) * 5, spans(saturday), spans(saturday if sunday is None else sunday))


def easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (the anonymous computus)."""
    golden, century = year % 19, year // 100
    moon = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (year % 100 // 4) - moon - year % 100 % 4) % 7
    shift = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


@lru_cache(maxsize=256)
def french_holidays(year: int) -> frozenset[date]:
    """Return the eleven public holidays of article L3133-1 of the French labour code."""
    fixed = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))
    sunday = easter(year)
    moving = (sunday + timedelta(days=days) for days in (1, 39, 50))  # Easter Monday, Ascension, Whit Monday
    return frozenset((*(date(year, month, day) for month, day in fixed), *moving))


def french_holiday(day: date) -> bool:
    """Return whether a day is a public holiday in all of France."""
    return day in french_holidays(day.year)


_NEVER = (0, 0)
_FCC = "47 CFR 64.1200(c)(1)"
_VENDOR = "vendor default, no statute: help.klaviyo.com SMS quiet hours by country"


def _sms(rule_id: str, jurisdiction: str, week: Week, source: str, since: date | None = None) -> LegalHours:
    return LegalHours(rule_id, jurisdiction, Channel.SMS, week, source, since)


LEGAL_HOURS: tuple[LegalHours, ...] = (
    _sms("us-federal", "US", _week((8, 21)), _FCC),
    _sms("us-ct", "US-CT", _week((9, 20)), "secondary; statute not verified"),
    _sms("us-fl", "US-FL", _week((8, 20)), "Fla. Stat. 501.616(6)"),
    _sms("us-md", "US-MD", _week((8, 20)), "Stop the Spam Calls Act of 2023"),
    _sms("us-ms", "US-MS", _week((8, 20)), "secondary; not verified"),
    _sms("us-nj", "US-NJ", _week((8, 20)), "secondary; not verified"),
    _sms("us-ok", "US-OK", _week((8, 20)), "Oklahoma Telephone Solicitation Act of 2022"),
    _sms("us-ri", "US-RI", _week((9, 18), (10, 17)), "secondary; not verified"),
    _sms("us-tx", "US-TX", _week((9, 21), (9, 21), (12, 21)), "SB 140", date(2025, 9, 1)),
    _sms("us-va", "US-VA", _week((8, 21)), "SB 1339", date(2026, 1, 1)),
    _sms("us-wa", "US-WA", _week((8, 20)), "secondary"),
    # Satisfies every row above in all contiguous zones: 11:00 in New York is 08:00 in Los Angeles, and on Sundays
    # 14:00 is noon in El Paso, which is in Texas too.
    LegalHours(
        "us-state-unknown", "US-?", Channel.SMS, _week((11, 18), (11, 17), (14, 17)),
        "derived from the state rows", zone="America/New_York",
    ),
    LegalHours(
        "fr", "FR", Channel.SMS, _week((8, 22), (8, 22), _NEVER),
        "help.klaviyo.com SMS quiet hours by country; no Sundays, no public holidays", closed=french_holiday,
    ),
    *(_sms(f"{country.lower()}-default", country, _week((8, 21)), _VENDOR)
      for country in ("GB", "IE", "DE", "NL", "AU", "NZ", "CA")),
    _sms("default", "*", _week((8, 21)), _VENDOR),
)  # fmt: skip


@lru_cache(maxsize=4096)
def rules_for(channel: Channel, country: str, states: tuple[str, ...]) -> tuple[LegalHours, ...]:
    """Return every rule that binds a message to this country and these candidate states."""
    countries = {country, *(state[:2] for state in states)} - {""}
    jurisdictions = countries | set(states)
    if "US" in countries and not any(state.startswith("US-") for state in states):
        jurisdictions.add("US-?")
    rules = tuple(rule for rule in LEGAL_HOURS if rule.channel == channel and rule.jurisdiction in jurisdictions)
    of_country = {rule.jurisdiction for rule in rules}
    if not countries or countries - of_country:
        rules += tuple(rule for rule in LEGAL_HOURS if rule.channel == channel and rule.jurisdiction == "*")
    return rules


@lru_cache(maxsize=4096)
def hours_for(
    channel: Channel,
    country: str,
    states: tuple[str, ...],
    quiet: QuietHours | None = None,
    window: SendWindow | None = None,
) -> Hours:
    """Return what the law, the shop's quiet hours and the campaign's send window all leave open.

    The rows carry their own dates, so that a message moved past the day on which a rule begins obeys it.
    """
    openings = [
        Opening(rule.week, rule.zone, rule.effective_from, rule.effective_to, rule.closed)
        for rule in rules_for(channel, country, states)
    ]
    if quiet is not None:
        openings.append(Opening(quiet.week()))
    if window is not None:
        openings.append(Opening(window.week()))
    return Hours(tuple(openings))
