"""Who can be written to: a usable address; and who may: a permission that still stands."""

from __future__ import annotations

import hmac
import itertools
import random
from datetime import UTC, datetime, timedelta

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.message import SkipReason
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.eligibility import (
    Address,
    address,
    address_hash,
    allow_listed,
    consented_since,
    email_address,
    may_contact,
    phone_number,
)

PEPPER = b"pepper"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Ann.Lee+shop@Example.COM", "Ann.Lee+shop@example.com"),
        (" ann@example.com ", "ann@example.com"),
        ("ann@exämple.de", "ann@xn--exmple-cua.de"),
        ("o'hara@example.com", "o'hara@example.com"),
        ("ann@example", None),
        ("ann@@example.com", None),
        ("ann..lee@example.com", None),
        ("ann@-example.com", None),
        ("ann@example.c0m1", None),
        ("änn@example.com", None),
        ("ann@example.com\nBcc: all@example.com", None),
        ("Ann <ann@example.com>", None),
        ("ann@localhost", None),
        ("a" * 250 + "@example.com", None),
    ],
)
def test_an_e_mail_address_is_sent_as_given_with_its_domain_in_lower_case(given, sent):
    assert email_address(given) == sent


@given(
    local=st.text("abcXYZ019._+-'@ é", min_size=0, max_size=66),
    domain=st.text("abC09.-_é", min_size=0, max_size=30) | st.sampled_from(["example.com", "shop.example.co.uk"]),
)
def test_the_fast_path_says_what_email_validator_says(local, domain):
    text = f"{local}@{domain}"
    try:
        theirs = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False).ascii_email
    except EmailNotValidError:
        theirs = None

    assert email_address(text) == theirs


@pytest.mark.parametrize(
    ("given", "country", "sent"),
    [
        ("+1 (212) 555-0123", None, "+12125550123"),
        ("212 555 0123", "US", "+12125550123"),
        ("07400 123456", "United Kingdom", "+447400123456"),
        ("+447400123456", "US", "+447400123456"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("212 555 0123", None, None),
        ("212 555 0123", "Atlantis", None),
        ("+12", "US", None),
        ("+10005550123", "US", None),
        ("call me", "US", None),
        ("+1 212 555 0123 ext. 5", "US", None),
    ],
)
def test_a_phone_number_becomes_e164_read_in_the_customers_country(given, country, sent):
    assert phone_number(given, country) == sent


def as_libphonenumber_says(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    valid = phonenumbers.is_valid_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if valid else None


def test_the_fast_path_says_what_libphonenumber_says():
    dice = random.Random(7)
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    agreed = 0
    for _ in range(2_500):
        region = dice.choice(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[dice.choice(codes)])
        kind = dice.choice((0, 1, 3))
        example = phonenumbers.example_number_for_type(region, kind) if region.isalpha() else None
        if example is None:
            continue
        digits = list(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))
        for _ in range(dice.randrange(3)):
            digits[dice.randrange(2, len(digits))] = str(dice.randrange(10))
        text = "".join(digits)
        theirs = as_libphonenumber_says(text)
        assert phone_number(text, None) == theirs
        agreed += theirs is not None

    assert agreed > 400


def test_a_national_number_is_read_in_the_brands_country_when_the_customer_has_none():
    customer = Customer("c", phone="040 1234567")

    assert address(customer, Channel.SMS, PEPPER) is SkipReason.BAD_ADDRESS
    assert address(customer, Channel.SMS, PEPPER, "FI").value == "+358401234567"


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_no_address_is_another_reason_than_a_bad_one(missing):
    assert address(Customer("c", email=missing), Channel.EMAIL, PEPPER) is SkipReason.NO_ADDRESS
    assert address(Customer("c", email="x"), Channel.EMAIL, PEPPER) is SkipReason.BAD_ADDRESS


def test_the_hash_is_keyed_and_the_same_for_any_case_of_letters():
    upper = address(Customer("c", email="Ann@Example.com"), Channel.EMAIL, PEPPER)

    assert isinstance(upper, Address)
    assert upper.hash == address_hash("ann@example.com", PEPPER) == "cea0615277db22b071c78ce70a486398"
    assert upper.hash != address_hash("ann@example.com", b"other pepper")


@given(value=st.text(), pepper=st.binary(max_size=200))
def test_the_hash_is_hmac_sha256(value, pepper):
    theirs = hmac.new(pepper, value.lower().encode(errors="ignore"), "sha256").hexdigest()

    assert address_hash(value.encode(errors="ignore").decode(), pepper) == theirs[:32]


def said(granted: bool, hours: int, purpose: str = "marketing", channel: Channel = Channel.EMAIL) -> Consent:
    return Consent("c", channel, purpose, granted, NOON + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("consents", "may"),
    [
        ([], False),
        ([said(True, -1)], True),
        ([said(True, -2), said(False, -1)], False),
        ([said(False, -2), said(True, -1)], True),
        ([said(True, -1), said(False, -1)], False),
        ([said(True, 0)], True),
        ([said(True, 1)], False),
        ([said(True, -1), said(False, 1)], True),
        ([said(True, -1, channel=Channel.SMS)], False),
        ([said(True, -1, "profiling")], False),
        ([said(False, -1), said(True, -2, "cart_reminders")], True),
    ],
    ids=[
        "nothing said", "granted", "withdrawn", "granted again", "withdrawal wins a tie", "granted now",
        "granted tomorrow", "withdrawn tomorrow", "another channel", "another purpose", "one of two purposes",
    ],
)  # fmt: skip
def test_permission_is_the_latest_word_for_a_channel_and_a_purpose(consents, may):
    for order in itertools.permutations(consents):
        assert may_contact(order, Channel.EMAIL, ("marketing", "cart_reminders"), NOON) is may


def test_permission_tells_since_when():
    assert consented_since([said(True, -3)], Channel.EMAIL, ("marketing",), NOON) == NOON - timedelta(hours=3)


def test_the_allow_list_takes_addresses_and_whole_domains():
    allowed = ("Ann@Example.com", "@shop.example", "+12125550123")

    assert allow_listed("ann@example.com", allowed)
    assert allow_listed("bob@SHOP.example", allowed)
    assert allow_listed("+12125550123", allowed)
    assert not allow_listed("bob@evilshop.example", allowed)
    assert not allow_listed("bob@example.com", allowed)
