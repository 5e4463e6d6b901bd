"""What mailbox providers tell senders as figures only: their complaint rates, day by day, taken from a file."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tidings.errors import DefinitionError
from tidings.jobs import rates as rates_job
from tidings.jobs.opening import Opened
from tidings.ledger import rates
from tidings.ledger.rates import GivenRate
from tidings.plan.mailboxes import GMAIL, MAILBOXES

LARGEST = 5_000_000
_DOMAIN = re.compile(r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}$")
_NEEDED, _MAY = ("day", "domain", "complaint_rate"), ("mailbox",)


@dataclass(frozen=True, slots=True)
class PostmasterCounts:
    """How many rates a file held, of how many domains, and what they stopped or warned about."""

    rates: int
    domains: int
    stopped: tuple[str, ...]
    warned: tuple[str, ...]


def run(opened: Opened, file: Path, *, now: datetime | None = None) -> PostmasterCounts:
    """Keep a file's rates and hold them against the brakes at once. Raises DefinitionError with place and rule.

    The file is all right or not taken at all; taken twice, it changes nothing the second time.
    """
    now = now or opened.ledger.now()
    found = list(read(file, now))
    with opened.ledger.writing() as conn:
        rates.keep_given(conn, found, now=now)
    looked = rates_job.run(opened, now=now)
    return PostmasterCounts(len(found), len({one.domain for one in found}), looked.stopped, looked.warned)


def read(file: Path, now: datetime) -> Iterator[GivenRate]:
    """Yield the rates of a CSV with a header, or of a JSON list of objects: day, domain, complaint_rate, (mailbox)."""
    text = _text(file)
    rows = _json(file, text) if text.lstrip()[:1] in ("[", "{") else _csv(file, text)
    seen = False
    for place, row in rows:
        seen = True
        yield _rate(f"{file.name}: {place}", row, now)
    if not seen:
        raise DefinitionError(f"{file.name}: must have at least one rate; found none")


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise DefinitionError(f"{file.name}: must be at most {LARGEST // 1_000_000} MB; found more")
        return file.read_text(encoding="utf-8-sig")
    except OSError as trouble:
        raise DefinitionError(f"{file}: must be a readable file; found {trouble.strerror or 'none'}") from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{file.name}: must be UTF-8 text; found other bytes") from None


def _csv(file: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        _columns(f"{file.name}: line 1", [name.strip() for name in reader.fieldnames or ()])
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise DefinitionError(f"{file.name}: {place}: must have as many values as the header; found others")
            yield place, {name.strip(): value.strip() for name, value in row.items()}
    except csv.Error:
        raise DefinitionError(f"{file.name}: line {reader.line_num}: must be CSV; found something else") from None


def _json(file: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise DefinitionError(f"{file.name}: must be JSON or CSV; found something else") from None
    if not isinstance(listed, list):
        raise DefinitionError(f"{file.name}: must be a list of objects; found one object")
    for number, row in enumerate(listed, start=1):
        if not isinstance(row, dict):
            raise DefinitionError(f"{file.name}: item {number}: must be an object; found something else")
        _columns(f"{file.name}: item {number}", list(row))
        yield f"item {number}", row


def _columns(place: str, names: list[str]) -> None:
    for name in _NEEDED:
        if name not in names:
            raise DefinitionError(f"{place}: must have {', '.join(_NEEDED)}; found no {name}")
    for name in names:
        if name not in (*_NEEDED, *_MAY):
            raise DefinitionError(f'{place}: must have only {", ".join((*_NEEDED, *_MAY))}; found "{name[:40]}"')


def _rate(place: str, row: Mapping[str, Any], now: datetime) -> GivenRate:
    mailbox = str(row.get("mailbox") or GMAIL).lower()
    if mailbox not in MAILBOXES:
        raise DefinitionError(f'{place}: mailbox: must be one of {", ".join(MAILBOXES)}; found "{mailbox[:40]}"')
    domain = str(row["domain"]).strip().lower().rstrip(".")
    if len(domain) > 200 or not _DOMAIN.match(domain):
        raise DefinitionError(f'{place}: domain: must be a sending domain such as shop.example; found "{domain[:40]}"')
    return GivenRate(mailbox, domain, _day(place, row["day"], now), _share(place, row["complaint_rate"]))


def _day(place: str, said: object, now: datetime) -> datetime:
    try:
        # Postmaster Tools writes 20260302.
        day = date.fromisoformat(str(said).strip())
    except ValueError:
        raise DefinitionError(f'{place}: day: must be a day such as 2026-03-02; found "{str(said)[:40]}"') from None
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if at > now:
        raise DefinitionError(f'{place}: day: must not be in the future; found "{day}"')
    return at


def _share(place: str, said: object) -> float:
    text = str(said).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if isinstance(said, bool) or not 0 <= share <= 1:
        rule = 'must be a share such as 0.0012 or "0.12%"'
        raise DefinitionError(f'{place}: complaint_rate: {rule}; found "{text[:40]}"')
    return share
