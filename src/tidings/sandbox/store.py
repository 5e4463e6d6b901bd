"""What the sandbox accepted, in order of arrival: a line on disk before the answer leaves, an index in memory."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

FILE = "accepted.jsonl"


@dataclass(slots=True)
class Accepted:
    """One accepted message without its words, which stay on disk. ``at`` is sandbox time, ``arrived`` real time.

    ``message`` is our own id for it, ``id`` the provider's; ``seen`` is what has happened to it since.
    """

    no: int
    provider: str
    id: str
    message: str
    to: str
    sender: str
    title: str
    at: float
    arrived: float
    callback: str | None = None
    segments: int = 0
    seen: list[str] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)

    def line(self) -> dict[str, Any]:
        """Return what the inbox and the tests read: everything but the words."""
        return {
            "no": self.no, "provider": self.provider, "id": self.id, "message": self.message, "to": self.to,
            "sender": self.sender, "title": self.title, "at": self.at, "arrived": self.arrived,
            "segments": self.segments, "seen": self.seen,
        }  # fmt: skip


_FACTS = ("no", "provider", "id", "message", "to", "sender", "title", "at", "arrived", "callback", "segments")


class Store:
    """Append-only. One ``write`` per message, so that a killed process leaves whole lines (and at most one torn)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="tidings-sandbox-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else folder or Path()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / FILE
        self._open()

    def _open(self) -> None:
        self.messages: list[Accepted] = []
        self.by_message: Counter[str] = Counter()
        self.by_provider: Counter[str] = Counter({"sendgrid": 0, "twilio": 0})
        self.repeated: set[str] = set()
        self._places: dict[str, Accepted] = {}
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        whole = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # torn by a crash: its answer never left
                self._index(orjson.loads(line), (whole, len(line)))
                whole += len(line)
        os.ftruncate(self._file, whole)
        self._end = whole

    def add(self, facts: dict[str, Any], words: dict[str, Any]) -> Accepted:
        """Keep a message: on return its line has left the process."""
        whole = {"no": len(self.messages) + 1, **facts, "words": words}
        line = orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE)
        os.write(self._file, line)
        kept = self._index(whole, (self._end, len(line)))
        self._end += len(line)
        return kept

    def words(self, message: Accepted) -> dict[str, Any]:
        """Return subject, html, text, headers... as they were accepted."""
        start, length = message.place
        found: dict[str, Any] = orjson.loads(os.pread(self._file, length, start))["words"]
        return found

    def find(self, name: str) -> Accepted | None:
        """Return a message by our id or the provider's (the first, if one was accepted twice)."""
        return self._places.get(name)

    def newest(
        self, search: str = "", *, provider: str = "", limit: int = 100, before: int | None = None
    ) -> Iterator[Accepted]:
        """Yield the newest first; ``search`` in recipient, sender and title."""
        wanted, found = search.casefold(), 0
        for message in reversed(self.messages if before is None else self.messages[: max(0, before - 1)]):
            if provider and message.provider != provider:
                continue
            if wanted and wanted not in f"{message.to} {message.sender} {message.title} {message.message}".casefold():
                continue
            yield message
            found += 1
            if found >= limit:
                return

    def forget(self, message: Accepted) -> None:
        """Blank a message's recipient and words, on disk and in memory; that it was accepted stays."""
        start, length = message.place
        whole = orjson.loads(os.pread(self._file, length, start))
        blank: dict[str, Any] = {"subject": "", "html": None, "text": "", "headers": {}, "custom_args": {}}
        whole |= {"to": "", "title": "", "words": {name: blank[name] for name in blank if name in whole["words"]}}
        # The file is open for appending, where Linux appends whatever place a write names.
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(orjson.dumps(whole).ljust(length - 1) + b"\n")
        message.to = message.title = ""

    def reset(self) -> None:
        """Forget everything."""
        os.close(self._file)
        self.path.unlink()
        self._open()

    def close(self) -> None:
        os.close(self._file)
        if self._temporary is not None:
            self._temporary.cleanup()

    def _index(self, whole: dict[str, Any], place: tuple[int, int]) -> Accepted:
        kept = Accepted(**{name: whole[name] for name in _FACTS if name in whole}, place=place)
        self.messages.append(kept)
        self.by_provider[kept.provider] += 1
        self.by_message[kept.message] += 1
        if kept.message and self.by_message[kept.message] > 1:
            self.repeated.add(kept.message)
        self._places.setdefault(kept.id, kept)
        if kept.message:
            self._places.setdefault(kept.message, kept)
        return kept
