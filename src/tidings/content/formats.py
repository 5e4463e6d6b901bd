"""Money and dates in the customer's own notation, by Babel, with everything that repeats kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton, format_time
from babel.numbers import format_currency

from tidings.model.money import exponent

_RTL = frozenset(("ar", "fa", "he", "iw", "ku", "ps", "sd", "ug", "ur", "yi"))


@lru_cache(maxsize=64)
def direction(language: str) -> str:
    """Return "rtl" or "ltr" for a language code."""
    return "rtl" if language.split("-")[0].split("_")[0].lower() in _RTL else "ltr"


@lru_cache(maxsize=4096)
def notation(locale: str | None, country: str | None, language: str) -> str:
    """Return the locale that writes amounts and dates: the customer's, in the language of the template.

    A Finn who reads an English e-mail gets English words and the notation of English in Finland, so that one
    message never mixes two languages. What is unknown falls back to the language alone, then to English.
    """
    own = _parsed(locale)
    if own is not None and own.language == language:
        return str(own if own.territory or not country else _parsed(f"{language}_{country.upper()}") or own)
    territory = country or (own.territory if own is not None else None)
    # Where a language is not at home, its world form: Latvians read "8 March" in English, not "March 8".
    abroad = (f"{language}_{territory.upper()}", f"{language}_001") if territory else ()
    for tag in (*abroad, language, "en"):
        found = _parsed(tag)
        if found is not None:
            return str(found)
    return "en"


def _parsed(tag: str | None) -> Locale | None:
    if not tag or len(tag) > 35:
        return None
    tag = tag.replace("-", "_").split(".")[0]
    try:
        found = Locale.parse(tag)
    except (UnknownLocaleError, ValueError, TypeError):
        return None
    # Babel guesses a near relative of a locale it does not know (en_LV becomes en_US); a guess is not an answer.
    return found if found.territory is None or found.territory in tag else None


@lru_cache(maxsize=512)
def zone(name: str | None, fallback: str) -> tzinfo:
    """Return the named time zone, else the fallback, else UTC."""
    for tag in (name, fallback):
        try:
            if tag:
                return ZoneInfo(tag)
        except (KeyError, OSError, ValueError):
            continue  # unknown to this system, or not a zone at all: the next best clock
    return UTC


@lru_cache(maxsize=65_536)
def money(amount: int, currency: str, locale: str) -> str:
    """Return minor units as text: 17700 EUR in en_FI is "€177.00", in fi_FI "177,00 €"."""
    shape = _shape(currency, locale)
    if shape is None or amount < 0:
        return str(format_currency(_major(amount, currency), currency, locale=locale))
    before, group, point, after = shape
    digits = exponent(currency)
    whole, part = divmod(amount, 10**digits)
    text = f"{whole:,}".replace(",", group)
    return f"{before}{text}{point}{part:0{digits}d}{after}" if digits else f"{before}{text}{after}"


@lru_cache(maxsize=65_536)
def short_money(amount: int, currency: str, locale: str) -> str:
    """Return the amount without decimals where it is whole: "€30", but "€30.50"."""
    if amount % 10 ** exponent(currency):
        return money(amount, currency, locale)
    return str(
        format_currency(_major(amount, currency), currency, format=_no_decimals(locale), locale=locale,
                        currency_digits=False)
    )  # fmt: skip


def _major(amount: int, currency: str) -> Decimal:
    return Decimal(amount).scaleb(-exponent(currency))


@lru_cache(maxsize=512)
def _no_decimals(locale: str) -> str:
    pattern = str(Locale.parse(locale).currency_formats["standard"].pattern)
    return pattern.replace(".00", "")


@lru_cache(maxsize=1024)
def _shape(currency: str, locale: str) -> tuple[str, str, str, str] | None:
    """Return what stands before, between groups, before the decimals and after; None where it is not that simple.

    Babel takes 30 to 50 µs an amount, a tenth of the whole message; most locales write plain groups of three.
    """
    digits = exponent(currency)

    def written(units: int) -> str:
        return str(format_currency(_major(units, currency), currency, locale=locale))

    sample = written(1_234_567 * 10**digits + (89 if digits else 0))
    start, _, rest = sample.partition("1")
    group, _, rest = rest.partition("234")
    middle, _, rest = rest.partition("567")
    if group != middle:
        return None
    point, after = "", rest
    if digits:
        point, found, after = rest.partition(f"{89:0{digits}d}")
        if not found:
            return None
    shape = (start, group, point, after)
    for units in (0, 5, 123_456, 98_765_432, 1_000_000_000):
        whole, part = divmod(units, 10**digits)
        text = f"{whole:,}".replace(",", group)
        if f"{start}{text}{point}{f'{part:0{digits}d}' if digits else ''}{after}" != written(units):
            return None
    return shape


@lru_cache(maxsize=16_384)
def _skeleton(skeleton: str, on: date, locale: str) -> str:
    return str(format_skeleton(skeleton, on, fuzzy=True, locale=locale))


def day(at: date, locale: str) -> str:
    """Return day and month: "21 November", "November 21"."""
    return _skeleton("MMMMd", _date(at), locale)


def weekday(at: date, locale: str) -> str:
    """Return the day of the week: "Sunday"."""
    return str(Locale.parse(locale).days["stand-alone"]["wide"][at.weekday()])


def month(at: date, locale: str) -> str:
    """Return the month's name: "March"."""
    return str(Locale.parse(locale).months["stand-alone"]["wide"][at.month])


def clock(at: datetime, locale: str) -> str:
    """Return hours and minutes: "09:00", "9:00 AM"."""
    return _clock(at.hour, at.minute, locale)


@lru_cache(maxsize=8192)
def _clock(hour: int, minute: int, locale: str) -> str:
    # Babel reads only the wall clock here; the date is any date.
    return str(format_time(datetime(2026, 1, 1, hour, minute, tzinfo=UTC), "short", tzinfo=UTC, locale=locale))


def _date(at: date) -> date:
    return at.date() if isinstance(at, datetime) else at
