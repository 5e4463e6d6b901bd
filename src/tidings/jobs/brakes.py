"""Stopping and letting go: one word of a person becomes the scope that the next dispatch obeys."""

from __future__ import annotations

import getpass

from tidings.definitions.mistakes import nearest
from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.ledger import brakes
from tidings.model.people import Channel

PROVIDERS = ("sendgrid", "twilio", "outbox")


def pull(opened: Opened, what: str, reason: str, *, by: str | None = None) -> str:
    """Stop a campaign, ``all``, a channel or a provider; return the scope. Raises DefinitionError for another word."""
    scope = scope_of(opened, what)
    now = opened.ledger.now()
    with opened.ledger.writing() as conn:
        brakes.pull(conn, scope, reason=reason, at=now, by=by or _person())
    return scope


def release(opened: Opened, what: str) -> tuple[str, bool]:
    """Let go of a brake; return its scope and whether it was on."""
    scope = scope_of(opened, what)
    with opened.ledger.writing() as conn:
        return scope, brakes.release(conn, scope)


def scope_of(opened: Opened, what: str) -> str:
    """Return the brake's scope for a campaign's name, ``all``, ``channel:sms`` or ``provider:twilio``."""
    kind, colon, name = what.partition(":")
    known = {"channel": [channel.value for channel in Channel], "provider": list(PROVIDERS)}
    if what == "all":
        return what
    if colon and kind in known:
        if name not in known[kind]:
            near = nearest(name, known[kind])
            hint = f'; did you mean "{kind}:{near}"?' if near else ""
            raise DefinitionError(f'{kind}: must be {" or ".join(known[kind])}; found "{name}"{hint}')
        return what
    campaign = name if colon and kind == "campaign" else what
    return f"campaign:{opened.project.campaign(campaign).id}"


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
