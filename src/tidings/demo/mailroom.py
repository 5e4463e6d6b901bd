"""The demo's hand on the sandbox, over HTTP: what it accepted, its clock, and what recipients do."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tidings.demo.shoppers import Deed


@dataclass(slots=True)
class Mailroom:
    """A running sandbox. ``failed`` counts deeds whose webhook or link was not answered well."""

    url: str
    seen: int = 0
    failed: int = 0
    _line: http.client.HTTPConnection | None = None

    def set_clock(self, at: datetime | None) -> None:
        """Let the sandbox stand still at a moment, or follow real time again."""
        self._ask("POST", "/sandbox/clock", {"at": None if at is None else at.isoformat()})

    def fresh(self) -> list[str]:
        """Return our ids of the messages that were accepted since the last time, oldest first."""
        found = self._ask("GET", f"/sandbox/accepted?after={self.seen}")["messages"]
        self.seen += len(found)
        return [str(one["message"]) for one in found]

    def accepted(self) -> list[tuple[str, datetime]]:
        """Return our ids of all messages that were accepted, with the sandbox's time of each."""
        found = self._ask("GET", "/sandbox/accepted")["messages"]
        return [(str(one["message"]), datetime.fromtimestamp(one["at"], UTC)) for one in found]

    def skip(self) -> int:
        """Leave what was accepted so far alone; return how much that is."""
        self.seen = int(self._ask("GET", "/sandbox/accepted?after=999999999")["total"])
        return self.seen

    def do(self, deeds: Sequence[Deed]) -> None:
        """Let recipients do these things, each at its own moment."""
        if not deeds:
            return
        acts = [
            {"message": one.message_id, "action": one.action, "text": one.text,
             "at": datetime.fromtimestamp(one.at, UTC).isoformat()}
            for one in deeds
        ]  # fmt: skip
        self.failed += len(self._ask("POST", "/sandbox/act", acts)["failed"])

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        parts = urlsplit(self.url)
        if self._line is None:
            self._line = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=120)
        try:
            self._line.request(method, path, json.dumps(body) if body is not None else None)
            answer = self._line.getresponse()
        except (http.client.HTTPException, ConnectionError):
            # A keep-alive connection that rested too long is closed by the other side: once more, on a new one.
            self._line.close()
            self._line.request(method, path, json.dumps(body) if body is not None else None)
            answer = self._line.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"the sandbox answered {answer.status} to {method} {path.partition('?')[0]}")
        return json.loads(text)
