"""How a command speaks: no boxes, at most 96 columns, colour on status words only, errors to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tidings.model.money import exponent

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 96
DASH = "–"
_MINUS = "−"
_STATUS = {
    "ok": "green", "yes": "green", "error": "red", "no": "red", "failed": "red", "warning": "yellow", "stale": "yellow",
    "waiting": "yellow", "paused": "yellow",
}  # fmt: skip
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}


def console(*, errors: bool = False) -> Console:
    """Return where to print. Colour only on a terminal, and never with NO_COLOR."""
    from rich.console import Console

    found = Console(stderr=errors, highlight=False, markup=False, emoji=False, soft_wrap=True)
    found.width = min(found.width, WIDTH) if found.is_terminal else WIDTH
    return found


def status(word: str, width: int = 0) -> Any:
    """Return a status word in its colour."""
    from rich.text import Text

    return Text(word.ljust(width), style=_STATUS.get(word, ""))


def line(*parts: object, dim: bool = False, bold: bool = False) -> None:
    """Print one line of strings and coloured words."""
    from rich.text import Text

    style = "dim" if dim else "bold" if bold else ""
    text = Text.assemble(*(part if isinstance(part, Text) else (str(part), style) for part in parts))
    text.rstrip()
    console().print(text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print columns: the first ``left`` to the left, numbers to the right, two spaces between."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def laid(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    line(laid(header), bold=True)
    for row in rows:
        line(laid(row))


def facts(value: object) -> None:
    """Print facts as JSON."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | Fraction):
        return float(value)
    return value.value if isinstance(value, Enum) else value


def number(value: int) -> str:
    """Return 1234 as "1,234", with a true minus."""
    return f"{value:,}".replace("-", _MINUS)


def money(minor: float | None, currency: str, *, sign: bool = False) -> str:
    """Return minor units as people read them: "€4.20", whole from 100 on, "−€600"; a dash for None."""
    if minor is None:
        return DASH
    places = exponent(currency)
    major = abs(Decimal(str(round(minor, 6))).scaleb(-places))
    text = f"{major:,.0f}" if major >= 100 or places == 0 else f"{major:,.{places}f}"
    unit = _SYMBOLS.get(currency, f"{currency} ")
    before = _MINUS if minor < 0 else "+" if sign and minor > 0 else ""
    return f"{before}{unit}{text}"


def moment(at: datetime, zone: str | None = None) -> str:
    """Return an instant as "21 Nov 2026 09:00 EET"; UTC without a zone."""
    from zoneinfo import ZoneInfo

    local = at.astimezone(ZoneInfo(zone or "UTC"))
    return f"{local.day} {local:%b %Y %H:%M %Z}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return "1 error" or "2 errors"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something long is going on; print nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    with console(errors=True).status(f"{what} ...", spinner="dots"):
        yield
