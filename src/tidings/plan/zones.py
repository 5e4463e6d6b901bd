"""Where a customer may be: every zone and state that the data leaves possible, most trusted source first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from tidings.model.people import Customer
from tidings.plan.places import AREA_STATES, COUNTRY_NAMES, STATE_NAMES, STATE_ZONES

# Since then no place below has changed its zone; what was different before does not split a country's zones.
_COMPARED_FROM = datetime(2018, 1, 1, tzinfo=UTC)
_COMPARED_WEEKS = 52 * 15


@dataclass(frozen=True, slots=True)
class Zones:
    """The zones in every one of which a moment must be allowed, the states whose rules hold, and the country.

    ``states`` are ISO 3166-2 codes ("US-FL"), empty when unknown; ``country`` is ISO 3166-1, "" when unknown;
    ``source`` tells where ``zones`` came from: zone, region, area_code, country or brand.
    """

    zones: tuple[str, ...]
    states: tuple[str, ...]
    country: str
    source: str


def candidate_zones(customer: Customer, brand_zone: str, brand_country: str = "") -> Zones:
    """Return where this customer may be, by the order of timing rules 2.3 as far as the data goes.

    The zone they chose; else the zones of the state of their address, together with those of the state of their
    US or Canadian area code (numbers are portable, so neither overrules the other); else all zones of their
    country; else the brand's, with the brand's country. A name that is no zone counts as not given.
    """
    return place(customer.zone, customer.country, customer.region, dialled(customer), brand_zone, brand_country)


def dialled(customer: Customer) -> str:
    """Return what the phone number tells about the place: a North American area code, else a country code, else ""."""
    phone = customer.phone
    if not phone:
        return ""
    if phone[:2] == "+1" or phone[0] != "+":
        digits = phone[1:] if phone[1:].isdecimal() and phone[0] == "+" else "".join(filter(str.isdecimal, phone))
        if len(digits) == 11 and digits[0] == "1":
            return digits[1:4]
        local = len(digits) == 10 and phone[0] != "+" and country_code(customer.country) in ("US", "CA")
        return digits[:3] if local else ""
    return "" if customer.country else _calling_country(phone[1:4])


@lru_cache(maxsize=65_536)
def place(
    zone: str | None, country: str | None, region: str | None, dialled: str, brand_zone: str, brand_country: str
) -> Zones:
    """Return the candidates for one combination of what is known; see ``candidate_zones``."""
    home = country_code(country)
    chosen = zone if zone and zone_info(zone) else None
    if not home and chosen:
        home = _zone_countries().get(chosen, "")
    of_address = state_code(home, region)
    of_phone = AREA_STATES.get(dialled, ())
    states = tuple(dict.fromkeys((*((of_address,) if of_address else ()), *of_phone)))
    if not home:
        # A +1 number of no known state may be toll-free: the strictest reading is a US state we do not know.
        home = states[0][:2] if states else "US" if dialled.isdecimal() else dialled
    known = [STATE_ZONES[state] for state in states if state in STATE_ZONES]
    if chosen:
        return Zones((chosen,), states, home, "zone")
    if of_address or of_phone:
        if not of_address and home and home not in {state[:2] for state in of_phone}:
            known.append(country_zones(home))
        zones = tuple(dict.fromkeys(name for names in known for name in names))
        return Zones(zones, states, home, "region" if of_address else "area_code")
    if home and country_zones(home):
        return Zones(country_zones(home), states, home, "country")
    return Zones((brand_zone,), states, home or brand_country, "brand")


@lru_cache(maxsize=4096)
def zone_info(name: str) -> ZoneInfo | None:
    """Return the zone of this name, or None when there is none."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # also absolute paths, folders, overlong and broken names
        return None


@lru_cache(maxsize=1024)
def _calling_country(digits: str) -> str:
    for length in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]) if digits[:length].isdecimal() else 0)
        if regions:
            return regions[0] if regions[0].isalpha() else ""
    return ""


@lru_cache(maxsize=4096)
def country_code(country: str | None) -> str:
    """Return the ISO 3166-1 code for a code or an English name, or "" when it is neither."""
    word = (country or "").strip().upper()
    word = COUNTRY_NAMES.get(word, word)
    names = _country_names()
    return word if word in names.values() else names.get(word, "")


@lru_cache(maxsize=4096)
def state_code(country: str, region: str | None) -> str:
    """Return the ISO 3166-2 code of a region of the US, Canada or Australia, given as code or name, or ""."""
    word = (region or "").strip().upper()
    for code in (word, f"{country}-{word}", STATE_NAMES.get(word, "")):
        if code in STATE_ZONES and code[:2] == (country or code[:2]):
            return code
    return ""


@lru_cache(maxsize=512)
def country_zones(country: str) -> tuple[str, ...]:
    """Return the zones of a country, one for each set that has kept the same time since 2018."""
    same_time: dict[tuple[timedelta | None, ...], str] = {}
    for name in _country_table().get(country, ()):
        zone = zone_info(name)
        if zone is not None:
            weeks = (_COMPARED_FROM + timedelta(weeks=week) for week in range(_COMPARED_WEEKS))
            same_time.setdefault(tuple(at.astimezone(zone).utcoffset() for at in weeks), name)
    return tuple(same_time.values())


def _table(name: str) -> list[Sequence[str]]:
    text = files("tzdata").joinpath("zoneinfo", name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@lru_cache(maxsize=1)
def _country_table() -> dict[str, tuple[str, ...]]:
    zones: dict[str, tuple[str, ...]] = {}
    for country, _, name, *_ in _table("zone.tab"):
        zones[country] = (*zones.get(country, ()), name)
    return zones


@lru_cache(maxsize=1)
def _zone_countries() -> dict[str, str]:
    return {name: country for country, names in _country_table().items() for name in names}


@lru_cache(maxsize=1)
def _country_names() -> dict[str, str]:
    return {name.upper(): code for code, name in _table("iso3166.tab")}
