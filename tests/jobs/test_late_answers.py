"""A provider that never answers, and has no time-out of its own, holds its messages up for a while and no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from tidings.channels.base import Envelope
from tidings.jobs.sending import Exchange, Halts, Ready
from tidings.ledger.dispatching import Begun, Due, Intent, Outcome
from tidings.model.entry import Entry
from tidings.model.people import Channel

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Forgetful:
    """Answers all but one."""

    name, channel = "forgetful", Channel.EMAIL

    async def send(self, envelope: Envelope) -> str:
        """Never return for the first message."""
        if envelope.message_id == "m0":
            await asyncio.Event().wait()
        return f"id-{envelope.message_id}"

    async def forget(self, addresses: Sequence[str], provider_ids: Sequence[str]) -> list[str]:
        """Nothing is kept."""
        return []

    async def close(self) -> None:
        """Nothing is open."""


def test_a_message_without_an_answer_is_in_doubt_after_the_limit_and_the_others_are_sent() -> None:
    passed = [_due(f"m{n}") for n in range(6)]
    outcomes: list[Outcome] = []

    async def write(some: Sequence[Due]) -> Sequence[Ready]:
        return [_ready(one.id) for one in some]

    async def begin(some: Sequence[Ready]) -> Begun:
        return Begun(frozenset(one.intent.id for one in some), frozenset(), {}, frozenset())

    async def record(some: Sequence[Outcome]) -> None:
        outcomes.extend(some)

    exchange = Exchange({Channel.EMAIL: Forgetful()}, write, begin, record, Halts.none(5), 4, 0.2, 15.0)
    began = datetime.now(UTC)
    left = asyncio.run(exchange.carry(passed, "token", lambda: NOW, lambda: False))

    assert left == []
    assert (datetime.now(UTC) - began).total_seconds() < 5
    assert {one.id: one.kind for one in outcomes} == {
        "m0": "unknown", **{f"m{n}": "sent" for n in range(1, 6)},
    }  # fmt: skip
    assert next(one.detail for one in outcomes if one.id == "m0") == "no answer in time"


def _ready(name: str) -> Ready:
    envelope = Envelope(name, Channel.EMAIL, "a@x.example", "s", "t", "h")
    return Ready(Intent(name, f"c{name}", None, "email"), envelope, "cart", 0, NOW)


def _due(name: str) -> Due:
    entry = Entry(f"key {name}", f"c{name}", NOW, NOW)
    return Due(
        name, f"e{name}", "cart", "reminder", 0, "email", f"c{name}", 50, False, NOW, NOW, NOW, 0, 0, None, None, "",
        entry, None,
    )  # fmt: skip
