"""What people and the shop's other tools reach: limits of the public pages, answers to texts, who is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidings.settings import words
from tidings.settings.words import Section

_Text = Annotated[str, Field(min_length=5, max_length=320)]


class Web(Section):
    """The public web service."""

    client_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,60}$",
        description="The header in which your own proxy names the client, such as X-Forwarded-For: its last address "
        "counts. Without it, limits count the connection's address",
    )
    per_minute: int = Field(
        120, ge=1, le=100_000, description="Requests a minute with one token, and pages a minute by one client"
    )
    wrong_per_minute: int = Field(
        30, ge=1, le=100_000, description="Requests a minute by one client whose token or signature does not hold"
    )


class Replies(Section):
    """What incoming texts are answered. Twilio answers its own single words itself, and is left to."""

    help: _Text | None = Field(None, description="To HELP, where Twilio does not answer it; nothing when left out")
    stopped: _Text | None = Field(
        None, description='To "please stop texting me" and the like, once; a plain confirmation when left out'
    )
    opt_in: _Text | None = Field(
        None, description="Asked once of a number whose owner chose texts on a page; must contain YES and STOP"
    )


class OptOutWebhook(Section):
    """Where the shop's other tools hear of opt-outs and opt-ins."""

    url: words.WebAddress = Field(description="Posted to, as JSON, signed")
    connection: str | None = Field(None, description="The connection whose password signs; opt_out_webhook if left out")
