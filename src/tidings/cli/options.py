"""The options that commands share, so that each is called and explained the same everywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from tidings.errors import DefinitionError

ProjectDir = Annotated[Path, typer.Option("--project", metavar="DIR", help="The project's folder (default: here).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
CampaignName = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="A campaign's id or file name.")]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="A step's name.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Look as if it were this time, such as 2026-03-02T09:00Z.")
]

HERE = Path()


def instant(text: str | None, option: str) -> datetime | None:
    """Return an option as an aware instant; without an offset it is UTC. Raises DefinitionError."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise DefinitionError(f'{option}: must be a time such as 2026-03-02T09:00Z; found "{text}"') from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def day(text: str | None, option: str) -> date | None:
    """Return an option as a day. Raises DefinitionError."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DefinitionError(f'{option}: must be a day such as 2026-03-02; found "{text}"') from None
