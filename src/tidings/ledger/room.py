"""How much room is left under each cap, and who took it: read under the contacts' locks, counted as a batch goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, select

from tidings.ledger import prepared
from tidings.ledger.prepared import Asked, Prepared
from tidings.ledger.schema import contact_slots
from tidings.model.people import Channel
from tidings.plan.caps import Cap, free_at


@dataclass(frozen=True, slots=True)
class Pool:
    """Goods that are few: at most ``at_most`` people are told of them within any stretch of length ``per``.

    ``name`` is a contact of its own, locked and counted as a person's are; the held-out arm takes its places too,
    or the arms would wait differently.
    """

    name: str
    at_most: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Intent:
    """A claimed, rendered message about to leave. ``person`` is the canonical customer id.

    ``exempt`` (transactional) messages neither obey the caps nor use them up. ``urls`` are the targets of its
    links by number; ``tracked`` says whether they go through our redirect.
    ``evidence`` is what it is allowed on, as JSON without the caps; it goes into the message's receipt.
    """

    id: str
    person: str
    address_hash: str | None
    channel: str
    held_out: bool = False
    exempt: bool = False
    urls: Sequence[str] = ()
    tracked: bool = True
    template_hash: str | None = None
    segments: int | None = None
    provider: str | None = None
    mailbox: str | None = None
    evidence: str | None = None
    pool: Pool | None = None


def contacts_of(person: str, address_hash: str | None) -> tuple[str, ...]:
    """Return the names under which a message counts against caps: its person, and its address if it has one."""
    return (f"p:{person}", f"a:{address_hash}") if address_hash else (f"p:{person}",)


def _used(dialect: str) -> Executable:
    slots, wanted = contact_slots.c, prepared.ids_given(dialect)
    return (
        select(slots.contact, slots.channel, slots.at)
        .join(wanted, wanted.c.id == slots.contact)
        .where(slots.space == bindparam("space"), slots.at > bindparam("since"))
    )


_USED = Prepared(_used)


def asked_used(conn: Connection, space: str, intents: Sequence[Intent], caps: Sequence[Cap], now: datetime) -> Asked:
    """Return the question about the slots that count against the caps of these messages."""
    names = {name for one in intents if not one.exempt for name in contacts_of(one.person, one.address_hash)}
    pools = {one.pool.name: one.pool.per for one in intents if one.pool is not None}
    longest = max([*(cap.per for cap in caps), *pools.values()], default=timedelta(0))
    asked = names | pools.keys() if longest else set()
    since = prepared.instant(conn, now - longest)
    return _USED, {"body": prepared.ids(asked), "space": str(space), "since": since}


class Room:
    """How much of each cap is used by whom, as ``asked_used`` told; counts what this batch takes as it goes."""

    def __init__(self, used: Iterable[Sequence[Any]], caps: Sequence[Cap], now: datetime) -> None:
        self._caps, self._now = caps, now
        self._used: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
        self.taken: list[tuple[str, str, str]] = []  # contact, message, channel
        self._empty: dict[str, str] = {}
        for contact, channel, at in used:
            self._used[contact].append((channel, prepared.told_instant(at)))

    def free_at(self, intent: Intent) -> datetime | None:
        latest: datetime | None = None
        for contact in contacts_of(intent.person, intent.address_hash):
            used = self._used.get(contact)
            if not used:
                continue
            for cap in self._caps:
                if not cap.covers(Channel(intent.channel)):
                    continue
                counting = [at for channel, at in used if cap.covers(Channel(channel))]
                free = free_at(cap, counting, self._now)
                if free is not None and (latest is None or free > latest):
                    latest = free
        return latest

    def drained(self, pool: Pool) -> bool:
        """Return whether as many people were told lately as may be."""
        return sum(1 for _, at in self._used.get(pool.name, ()) if at > self._now - pool.per) >= pool.at_most

    def told(self, intent: Intent) -> str:
        """Return how full each cap of the channel is before this message, as evidence writes it: "0/1","2/4"."""
        known = [t for one in contacts_of(intent.person, intent.address_hash) if (t := self._used.get(one))]
        if not known:
            empty = self._empty.get(intent.channel)
            if empty is None:
                empty = self._empty[intent.channel] = self._told(intent.channel, ())
            return empty
        return self._told(intent.channel, known)

    def _told(self, channel: str, known: Sequence[Sequence[tuple[str, datetime]]]) -> str:
        of_channel = [cap for cap in self._caps if cap.covers(Channel(channel))]
        used = [max((self._within(cap, times) for times in known), default=0) for cap in of_channel]
        return ",".join(f'"{many}/{cap.at_most}"' for many, cap in zip(used, of_channel, strict=True))

    def _within(self, cap: Cap, times: Sequence[tuple[str, datetime]]) -> int:
        since = self._now - cap.per
        return sum(1 for channel, at in times if at > since and cap.covers(Channel(channel)))

    def take(self, intent: Intent) -> None:
        contacts = () if intent.exempt else contacts_of(intent.person, intent.address_hash)
        for contact in (*contacts, intent.pool.name) if intent.pool is not None else contacts:
            self._used[contact].append((intent.channel, self._now))
            self.taken.append((contact, intent.id, intent.channel))
