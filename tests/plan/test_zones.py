"""Where a customer may be: the most trusted source wins, and doubt widens the candidates."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.people import Customer
from tidings.plan.places import AREA_STATES, STATE_NAMES, STATE_ZONES
from tidings.plan.zones import candidate_zones, country_code, country_zones, zone_info

BRAND = "Europe/Helsinki"


def where(**known):
    return candidate_zones(Customer("c", **known), BRAND, "FI")


@pytest.mark.parametrize(
    ("known", "zones", "states", "country", "source"),
    [
        ({"zone": "Asia/Tokyo", "country": "US", "region": "FL"}, ("Asia/Tokyo",), ("US-FL",), "US", "zone"),
        ({"country": "US", "region": "FL"}, ("America/New_York", "America/Chicago"), ("US-FL",), "US", "region"),
        ({"country": "United States", "region": "florida"}, ("America/New_York", "America/Chicago"), ("US-FL",), "US",
         "region"),
        ({"country": "US", "phone": "+1 850 555 1234"}, ("America/New_York", "America/Chicago"), ("US-FL",), "US",
         "area_code"),
        ({"country": "US", "phone": "(415) 555-1234"}, ("America/Los_Angeles",), ("US-CA",), "US", "area_code"),
        ({"country": "US", "region": "CA", "phone": "+12125551234"}, ("America/Los_Angeles", "America/New_York"),
         ("US-CA", "US-NY"), "US", "region"),
        ({"country": "GB", "phone": "+12125551234"}, ("America/New_York", "Europe/London"), ("US-NY",), "GB",
         "area_code"),
        ({"country": "CA", "phone": "+19025551234"}, ("America/Halifax",), ("CA-NS", "CA-PE"), "CA", "area_code"),
        ({"country": "AU", "region": "NSW"}, ("Australia/Sydney", "Australia/Broken_Hill", "Australia/Lord_Howe"),
         ("AU-NSW",), "AU", "region"),
        ({"country": "UK"}, ("Europe/London",), (), "GB", "country"),
        ({"phone": "+33612345678"}, ("Europe/Paris",), (), "FR", "country"),
        ({"zone": "Europe/Paris"}, ("Europe/Paris",), (), "FR", "zone"),
        ({"zone": "Mars/Olympus", "country": "DE"}, ("Europe/Berlin",), (), "DE", "country"),
        ({"country": "Atlantis"}, (BRAND,), (), "FI", "brand"),
        ({}, (BRAND,), (), "FI", "brand"),
    ],
    ids=[
        "chosen zone", "state", "state by name", "area code is a state", "national number",
        "state and area code differ", "american number abroad", "area code of two provinces",
        "australian state", "country", "calling code",
        "country of a zone", "no such zone", "no such country", "nothing known",
    ],
)  # fmt: skip
def test_the_most_trusted_source_decides(known, zones, states, country, source):
    found = where(**known)

    assert (found.zones, found.states, found.country, found.source) == (zones, states, country, source)


def test_an_american_without_a_state_may_be_anywhere_from_new_york_to_hawaii():
    zones = where(country="US", phone="+18005551234").zones

    assert {"America/New_York", "America/Chicago", "America/Los_Angeles", "Pacific/Honolulu"} <= set(zones)
    assert len(zones) < 12  # the 29 zones of the country, one for each that keeps its own time


def test_a_toll_free_number_without_a_country_is_read_as_an_unknown_american_state():
    found = where(phone="+18005551234")

    assert (found.country, found.states) == ("US", ())


@pytest.mark.parametrize(
    "name", ["", "America", "/etc/passwd", "../../etc/passwd", "x" * 5000, "Europe/Berlin\0", "\ud800", "EST5EDT/x"]
)
def test_a_name_that_is_no_zone_counts_as_not_given(name):
    assert where(zone=name, country="DE").source == "country"


@given(
    zone=st.none() | st.text(max_size=20) | st.sampled_from(["UTC", "Asia/Tokyo"]),
    country=st.none() | st.text(max_size=4) | st.sampled_from(["US", "FR", "uk"]),
    region=st.none() | st.text(max_size=8) | st.sampled_from(["TX", "US-TX", "Ontario"]),
    phone=st.none() | st.text(max_size=16) | st.sampled_from(["+12125551234", "+", "00", "٠١٢"]),
)
def test_whatever_the_data_says_there_is_a_zone_that_exists(zone, country, region, phone):
    found = where(zone=zone, country=country, region=region, phone=phone)

    assert found.zones
    assert all(ZoneInfo(name) for name in found.zones)
    assert all(state in STATE_ZONES for state in found.states)


def test_every_zone_and_name_in_the_tables_exists():
    assert all(zone_info(zone) for zones in STATE_ZONES.values() for zone in zones)
    assert set(STATE_NAMES.values()) <= set(STATE_ZONES)
    assert {state for states in AREA_STATES.values() for state in states} <= set(STATE_ZONES)


def test_the_area_codes_are_those_of_libphonenumber():
    from phonenumbers.geodata import GEOCODE_DATA  # the whole world's: seconds to import, hundreds of megabytes

    theirs = {prefix[1:] for prefix in GEOCODE_DATA if prefix[0] == "1" and len(prefix) == 4}
    named = {"Florida": "US-FL", "Texas": "US-TX", "Ohio": "US-OH", "Quebec": "CA-QC", "New York": "US-NY"}

    assert set(AREA_STATES) == theirs
    for area, states in AREA_STATES.items():
        name = GEOCODE_DATA[f"1{area}"]["en"]
        if name in named:
            assert states == (named[name],)


def test_countries_are_known_by_code_and_by_name():
    assert [country_code(word) for word in ("de", " Germany ", "USA", "United Kingdom", "EIRE", "Nowhere", None)] == [
        "DE", "DE", "US", "GB", "IE", "", "",
    ]  # fmt: skip
    assert country_zones("FR") == ("Europe/Paris",)
