"""Money and dates as the customer writes them, and words from outside made harmless."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from babel.numbers import format_currency
from hypothesis import given
from hypothesis import strategies as st

from tidings.content import formats
from tidings.content.clean import cut, one_line
from tidings.model.money import Money

LOCALES = ["en_US", "en_IE", "de_DE", "de_CH", "fi_FI", "fr_FR", "es_ES", "pl_PL", "hi_IN", "ja_JP", "ar_EG", "he_IL",
           "sv_SE", "pt_BR", "da_DK", "nl_NL", "en_IN"]  # fmt: skip


@given(
    st.sampled_from(LOCALES), st.sampled_from(["EUR", "USD", "JPY", "KWD", "SEK", "INR"]), st.integers(-(10**6), 10**12)
)
def test_money_is_written_exactly_as_babel_writes_it(locale: str, currency: str, amount: int) -> None:
    expected = format_currency(Money(amount, currency).major(), currency, locale=locale)

    assert formats.money(amount, currency, locale) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "text"),
    [(3000, "EUR", "en_IE", "€30"), (3050, "EUR", "en_IE", "€30.50"), (15000, "JPY", "ja_JP", "￥15,000"),
     (3000, "EUR", "de_DE", "30\u00a0€")],
)  # fmt: skip
def test_a_whole_amount_needs_no_decimals(amount: int, currency: str, locale: str, text: str) -> None:
    assert formats.short_money(amount, currency, locale) == text


@pytest.mark.parametrize(
    ("locale", "country", "language", "found"),
    [("fi-FI", "FI", "en", "en_FI"), ("en", "US", "en", "en_US"), ("en-GB", "US", "en", "en_GB"), (None, None, "en", "en"),  # noqa: E501
     ("xx_bad", "ZZ", "en", "en_001"), ("de_CH.UTF-8", None, "de", "de_CH"), ("x" * 500, None, "zz", "en")],
)  # fmt: skip
def test_notation_follows_the_customer_in_the_language_of_the_template(
    locale: str | None, country: str | None, language: str, found: str
) -> None:
    assert formats.notation(locale, country, language) == found


def test_dates_are_in_the_customers_order() -> None:
    at = datetime(2026, 3, 8, 21, 5, tzinfo=UTC)

    assert (formats.day(at, "en_GB"), formats.day(at, "en_US")) == ("8 March", "March 8")
    assert (formats.weekday(at, "en_GB"), formats.month(at, "fi_FI")) == ("Sunday", "maaliskuu")
    assert formats.clock(at, "en_GB") == "21:05"


@pytest.mark.parametrize("name", [None, "Mars/Olympus", "../../etc/passwd", "", "Europe"])
def test_an_unknown_zone_falls_back_to_the_shops(name: str | None) -> None:
    assert str(formats.zone(name, "Europe/Helsinki")) == "Europe/Helsinki"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Ann\r\nBcc: x@y.example", "Ann Bcc: x@y.example"), ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("Ann\x00\x1b[31m", "Ann[31m"), ("Zo\u0065\u0308", "Zoë"), ("a\ud800b", "ab"), ("  a \t b  ", "a b"),
        ("\u05e9\u05e8\u05d4", "\u05e9\u05e8\u05d4"), ("x\u2028y\u0085z", "x y z"), ("", ""),
    ],
)  # fmt: skip
def test_words_from_outside_become_one_harmless_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_joined_emoji_is_kept_whole_or_left_out() -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"

    assert cut("ab" + family, 4) == "ab"
    assert cut("e\u0301" * 3, 3) == "e\u0301"
    assert cut("\U0001f1eb\U0001f1ee" * 2, 3) == "\U0001f1eb\U0001f1ee"


@given(st.text(max_size=300), st.integers(1, 50))
def test_a_line_is_always_short_printable_valid_unicode(text: str, limit: int) -> None:
    line = one_line(text, limit)

    line.encode()
    assert len(line) <= limit
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066" for c in line)
