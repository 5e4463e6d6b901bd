"""Stopping and letting go: one word of a person becomes the scope that the next commit to `sending` obeys."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tidings.definitions.mistakes import nearest
from tidings.errors import DefinitionError
from tidings.jobs.opening import Opened
from tidings.ledger import brakes
from tidings.ledger.brakes import BrakeEvent
from tidings.measure.alerts import WARNINGS_LAST
from tidings.model.people import Channel
from tidings.plan.mailboxes import MAILBOXES

log = logging.getLogger(__name__)

PROVIDERS = ("sendgrid", "twilio", "outbox")


@dataclass(frozen=True, slots=True)
class BrakeOn:
    """A brake that is on, as people are told of it."""

    scope: str
    reason: str
    at: datetime
    by: str
    remedy: str

    @property
    def what(self) -> str:
        """What to give to `tidings resume`."""
        return self.scope.removeprefix("campaign:")


def pull(opened: Opened, what: str, reason: str, *, by: str | None = None) -> str:
    """Stop a campaign, ``all``, a channel, a provider, or one mailbox's marketing; return the scope.

    It holds from its commit on: what was begun before may still be accepted within one HTTP time-out.
    Raises DefinitionError for another word.
    """
    scope = scope_of(opened, what)
    now = opened.ledger.now()
    remedy = f"A person stopped this. When the reason is gone, run `tidings resume {what}`."
    with opened.ledger.writing() as conn:
        brakes.pull(conn, scope, reason=reason, at=now, by=by or _person(), remedy=remedy)
    return scope


def release(opened: Opened, what: str, *, by: str | None = None) -> tuple[str, bool]:
    """Let go of a brake; return its scope and whether it was on."""
    scope = scope_of(opened, what)
    with opened.ledger.writing() as conn:
        return scope, brakes.release(conn, scope, by=by or _person())


def on(opened: Opened) -> list[BrakeOn]:
    """Return every brake that is on, with what to do about it."""
    with opened.ledger.reading() as conn:
        found, remedies = brakes.pulled(conn), brakes.remedies(conn)
    return [BrakeOn(scope, one.reason, one.at, one.by, remedies.get(scope, "")) for scope, one in found.items()]


def warned(opened: Opened, *, now: datetime | None = None) -> list[BrakeEvent]:
    """Return what came near a brake in the two days before ``now`` and is not stopped."""
    now = now or opened.ledger.now()
    with opened.ledger.reading() as conn:
        return brakes.warnings(conn, since=now - WARNINGS_LAST)


_LEVELS = {"pulled": logging.ERROR, "warned": logging.WARNING, "released": logging.INFO}


def alarms(opened: Opened) -> list[BrakeEvent]:
    """Return what happened to brakes and was told to nobody yet, and note it as told: each event comes once.

    Each is a log line; one that needs somebody is an error that names what to do.
    """
    with opened.ledger.reading() as conn:
        waiting = brakes.events(conn, untold=True)
    if not waiting:
        return []
    now = opened.ledger.now()
    with opened.ledger.writing() as conn:
        mine = brakes.told(conn, [one.id for one in waiting], now)
    found = [one for one in waiting if one.id in mine]
    for one in found:
        log.log(_LEVELS[one.action], "%s", sentence(one))
    return found


def sentence(one: BrakeEvent) -> str:
    """Return an event as one line: what, why, by whom, and what to do."""
    did = {"pulled": "is stopped", "released": "goes on", "warned": "is close to being stopped"}[one.action]
    return f"{one.scope} {did} ({one.reason}; by {one.by or 'somebody'}). {one.remedy}".strip()


def scope_of(opened: Opened, what: str) -> str:
    """Return the brake's scope for a campaign's name, ``all``, ``channel:sms``, ``provider:twilio``,
    ``marketing:email`` or ``mailbox:gmail``."""
    kind, colon, name = what.partition(":")
    if what == "all":
        return what
    if colon and kind in KNOWN:
        return _known(kind, name, KNOWN[kind])
    campaign = name if colon and kind == "campaign" else what
    found = f"campaign:{campaign}"
    with opened.ledger.reading() as conn:
        # A campaign whose file is gone or broken can still be let go.
        return found if found in brakes.pulled(conn) else f"campaign:{opened.project.campaign(campaign).id}"


def _known(kind: str, name: str, known: Sequence[str]) -> str:
    if name in known:
        return f"{kind}:{name}"
    near = nearest(name, list(known))
    hint = f'; did you mean "{kind}:{near}"?' if near else ""
    raise DefinitionError(f'{kind}: must be {" or ".join(known)}; found "{name}"{hint}')


_CHANNELS = tuple(channel.value for channel in Channel)
KNOWN = {"channel": _CHANNELS, "marketing": _CHANNELS, "provider": PROVIDERS, "mailbox": MAILBOXES}


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
