"""What every provider is to us: an envelope goes in, the provider's id comes out, or one of four refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tidings.model.people import Channel


@dataclass(frozen=True, slots=True)
class Envelope:
    """One rendered message on its way to one address. ``message_id`` is the only thing of ours that leaves."""

    message_id: str
    channel: Channel
    to: str
    sender: str
    subject: str | None = None
    html: str | None = None
    text: str = ""
    sender_name: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    validity_seconds: int | None = None


class Provider(Protocol):
    """A way out. ``send`` raises Retry, Reject, Unknown or Halt (``tidings.errors``), never anything else."""

    name: str
    channel: Channel

    async def send(self, envelope: Envelope) -> str:
        """Hand the message over and return the provider's id for it."""

    async def forget(self, addresses: Sequence[str], provider_ids: Sequence[str]) -> list[str]:
        """Ask the provider to erase what it keeps about these; return, in words, what a person must see to."""

    async def close(self) -> None:
        """Give the connections back."""
