"""A "no" that reached a person of the shop (a letter, a call, a reply): obeyed like any other, at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from tidings.errors import DefinitionError
from tidings.jobs.forget import find
from tidings.jobs.opening import Opened
from tidings.jobs.way_back import cancel, still_open
from tidings.ledger import opt_ins, opt_outs, people
from tidings.ledger.opt_outs import Decision
from tidings.ledger.store import BRIEF_SECONDS, clock
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash

SOURCE = "agent"


@dataclass(frozen=True, slots=True)
class OptedOut:
    """What was closed; counts only. ``news`` is False when all of it was closed already."""

    ids: int
    addresses: int
    channels: tuple[str, ...]
    news: bool


def run(
    opened: Opened,
    customer_id: str | None,
    *,
    emails: Collection[str] = (),
    phones: Collection[str] = (),
    channels: Collection[Channel] = tuple(Channel),
    now: datetime | None = None,
) -> OptedOut:
    """Close channels for a customer under every id and address, or for addresses alone, and cancel what is pending.

    Raises DefinitionError when nobody is named, or nobody is known by the id.
    """
    if not (customer_id or emails or phones):
        raise DefinitionError("customer: must be an id, --email or --phone; found nothing")
    who = find(opened, customer_id, emails=emails, phones=phones)
    if not (who.in_warehouse or emails or phones):
        raise DefinitionError("customer: must be known to the warehouse; found nobody under this id")
    at = now or opened.ledger.now()
    hashes = sorted(address_hash(one, opened.secrets.pepper) for one in who.addresses)
    ids = sorted(who.ids)
    subjects = [*(f"a:{one}" for one in hashes), *(f"p:{one}" for one in ids)]
    news = False
    with opened.ledger.writing(seconds=BRIEF_SECONDS) as conn:
        for channel in sorted(channels):
            fresh = still_open(conn, subjects, channel)
            people.suppress(conn, subjects, channel=channel, reason="unsubscribed", at=at, source=SOURCE)
            if channel == Channel.SMS:
                opt_ins.withdraw(conn, hashes, at)
            if fresh:
                news = True
                opt_outs.note(conn, [Decision(channel, True, "unsubscribed", at, SOURCE, "", ids[0] if ids else None,
                                              hashes[0] if hashes else None)])  # fmt: skip
        cancel(conn, {(channel, one) for channel in channels for one in subjects}, clock(conn))
    return OptedOut(len(ids), len(hashes), tuple(sorted(one.value for one in channels)), news)
