"""Which message of ours a text on Twilio's list is: by its id there, by the link in it, else by address and time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from tidings.channels.twilio_list import Text
from tidings.jobs.opening import Opened
from tidings.ledger import proofs
from tidings.ledger.proofs import Doubt
from tidings.model.people import Channel
from tidings.plan.eligibility import address_hash

_TOKEN = re.compile(r"/[a-z]/([A-Za-z0-9_-]{24,120})")
# A text is dated by its provider: clocks differ by so much, and a queue holds it for so long.
_BEFORE, _AFTER = timedelta(minutes=1), timedelta(hours=10)


def texts(opened: Opened, listed: Sequence[Text], since: datetime) -> list[tuple[Text, str]]:
    """Return each text that is certainly one of our messages, with our id. What could be two is left out."""
    linked = {one.sid: _linked(opened, one) for one in listed}
    with opened.ledger.reading() as conn:
        ours = proofs.known(conn, {message_id for message_id in linked.values() if message_id})
        named = proofs.named(conn, [one.sid for one in listed])
        doubts = proofs.in_doubt(conn, Channel.SMS, since)
    found: list[tuple[Text, str]] = []
    rest: list[Text] = []
    for one in listed:
        message_id = named.get(one.sid) or linked[one.sid]
        if message_id is None:
            rest.append(one)
        elif one.sid in named or message_id in ours:
            found.append((one, message_id))
    settled = {message_id for _, message_id in found}
    return found + _by_address(opened, rest, [one for one in doubts if one.id not in settled])


def _linked(opened: Opened, text: Text) -> str | None:
    for token in _TOKEN.findall(text.body):
        told = opened.signer.read(token)
        if told is not None:
            return told.message_id
    return None


def _by_address(opened: Opened, rest: Sequence[Text], doubts: Sequence[Doubt]) -> list[tuple[Text, str]]:
    """Match texts without a link of ours: one text and one message for an address, at about one time, or none."""
    pepper = opened.secrets.pepper
    by_address: dict[str, list[Text]] = defaultdict(list)
    for one in rest:
        by_address[address_hash(one.to, pepper)].append(one)
    waiting: dict[str, list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        if doubt.address_hash in by_address:
            waiting[doubt.address_hash].append(doubt)
    found = []
    for hashed, few in sorted(waiting.items()):
        pairs = [
            (text, one)
            for text in by_address[hashed]
            for one in few
            if one.sending_at - _BEFORE <= text.at <= one.sending_at + _AFTER
        ]
        if len(pairs) == 1:
            found.append((pairs[0][0], pairs[0][1].id))
    return found
