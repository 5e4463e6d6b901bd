"""The provider that sends nothing: it keeps what it is given, for dry runs, previews and tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from tidings.channels.base import Envelope
from tidings.model.people import Channel


class Outbox:
    """Keeps envelopes in memory, and as JSON lines in ``file`` (readable by its owner only) when one is given."""

    name = "outbox"

    def __init__(self, channel: Channel = Channel.EMAIL, file: Path | None = None) -> None:
        self.channel = channel
        self.sent: list[Envelope] = []
        self._file: int | None = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def send(self, envelope: Envelope) -> str:
        """Keep the envelope; its id is the message's own."""
        self.sent.append(envelope)
        if self._file is not None:
            kept = {**asdict(envelope), "headers": dict(envelope.headers)}
            os.write(self._file, orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE))
        return f"outbox-{envelope.message_id}"

    async def forget(self, addresses: Sequence[str], provider_ids: Sequence[str]) -> list[str]:
        """Drop what is kept in memory; the file's lines are blanked by whoever knows all of the project's files."""
        self.sent = [one for one in self.sent if one.to not in addresses]
        return []

    async def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
