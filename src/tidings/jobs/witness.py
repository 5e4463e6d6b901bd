"""What was sent, told outside the ledger: a ledger that remembers less than its witnesses was restored, and waits."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from tidings.errors import LedgerError
from tidings.ledger import restoring
from tidings.ledger.restoring import Stretch
from tidings.ledger.store import Ledger

log = logging.getLogger(__name__)

# The file has a fixed length: what is written over it is never shorter than what was there.
_LENGTH = 200
# A write under the lock takes microseconds.
_PATIENCE = 0.25
# Of a file beside it that was not written for so many seconds nothing more is expected.
_SETTLED = 600
_UNWRITABLE = "must be writable (dispatch.witness in tidings.yaml); found that it is not"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a witness knows: sendings of a generation up to ``number`` were made, the last before ``until``."""

    generation: str
    number: int
    until: datetime

    def text(self) -> str:
        """Return it as JSON; no person and no message stands in it."""
        return json.dumps({"generation": self.generation, "number": self.number, "until": self.until.isoformat()})

    @classmethod
    def read(cls, text: str) -> Seen:
        """Return what a witness wrote. Raises ValueError for anything else."""
        try:
            told = json.loads(text)
            until = datetime.fromisoformat(told["until"])
            return cls(str(told["generation"]), int(told["number"]), until.astimezone(UTC))
        except (KeyError, TypeError) as wrong:
            raise ValueError("not a witness") from wrong


class Witness(Protocol):
    """A place outside the ledger that is not restored with it."""

    def seen(self) -> Sequence[Seen]:
        """Return what it knows; nothing when it was never written."""

    def note(self, seen: Seen) -> None:
        """Keep this, unless it knows of more in the same generation. Raises OSError when it cannot."""


class FileWitness:
    """A small file, written at every sending: one locked write over the same bytes, no fsync.

    The death of a process loses nothing; the loss of power may lose the last seconds of the file, and then the
    ledger, which was synced, is ahead of it: nothing is noticed that did not happen. Nobody waits for a process that
    fell asleep with the lock in its hands: who cannot have it writes a file of their own beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = path.with_name(f"{path.name}.{os.getpid()}")
        self._alone = False

    def seen(self) -> Sequence[Seen]:
        """Return what the file and those beside it say. Raises LedgerError when one is no witness: it was edited."""
        return tuple(one for path in (self.path, *self._others()) if (one := self._seen(path)) is not None)

    def note(self, seen: Seen) -> None:
        """Write it, unless the file knows of more in the same generation."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._alone or not self._locked(self.path, seen):
            self._alone = True
            if not self._locked(self._beside, seen):
                raise OSError(errno.EAGAIN, "the file is locked")

    def tidy(self) -> None:
        """Take the files beside into the one, when they were not written for a while."""
        self._alone = False
        for path in self._others():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _SETTLED:
                    told = self._seen(path)
                    if told is None or self._locked(self.path, told):
                        path.unlink()

    def _others(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.*"))

    def _seen(self, path: Path) -> Seen | None:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as trouble:
            raise LedgerError(f"witness {path}: must be a readable file; {type(trouble).__name__}") from None
        return self._read(text) if text else None

    def _read(self, text: str) -> Seen:
        try:
            return Seen.read(text)
        except ValueError:
            raise LedgerError(f"witness {self.path}: must be as Tidings wrote it; found something else") from None

    def _locked(self, path: Path, seen: Seen) -> bool:
        """Write under the file's lock; return False when somebody kept it all the time."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(file):
                return False
            text = os.pread(file, _LENGTH, 0).decode().strip()
            before = self._read(text) if text else None
            os.pwrite(file, later(before, seen).text().ljust(_LENGTH - 1).encode() + b"\n", 0)
            return True
        finally:
            os.close(file)


def _lock(file: int) -> bool:
    """Lock an open file; return False when that took longer than any process that is awake holds it."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)


def later(before: Seen | None, seen: Seen) -> Seen:
    """Return what a witness that knew ``before`` knows now; a new generation replaces the old."""
    if before is None or before.generation != seen.generation:
        return seen
    return Seen(seen.generation, max(before.number, seen.number), max(before.until, seen.until))


class Witnesses:
    """The file of this machine, and whatever else the door that opened the project has (an Airflow Variable)."""

    def __init__(self, file: FileWitness, *others: Witness) -> None:
        self.file = file
        self.others = others
        self._generation = ""

    def check(self, ledger: Ledger) -> None:
        """Raise LedgerError, in one line, when the ledger remembers less than was seen: it was restored."""
        if forgotten(ledger, self.seen()):
            raise LedgerError(
                "ledger: was restored from a backup, or is another one: its witness has seen sendings that it does "
                'not know; nothing is sent until `tidings reconcile` (in Airflow: the DAG `reconcile` with "reopen") '
                "has asked the providers"
            )

    def seen(self) -> list[Seen]:
        """Return what all of them know."""
        return [seen for one in (self.file, *self.others) for seen in one.seen()]

    def begin(self, ledger: Ledger, now: datetime, until: datetime) -> None:
        """Check, then tell those that hear of a lane's beginning and end only that it may send until ``until``.

        The lane takes a number of its own, so that it is missed when it is forgotten whole.
        """
        self.check(ledger)
        self.file.tidy()
        with ledger.writing() as conn:
            self._generation = restoring.generation(conn)
            number = restoring.note_sending(conn, at=now, count=0)
        taken = self._tell(self.others, number, until) + self._tell((self.file,), number, now)
        if not taken:
            raise LedgerError(f"witness {self.file.path}: {_UNWRITABLE}")

    def note(self, number: int, at: datetime) -> None:
        """Tell the file of a sending, before its HTTP: microseconds. Raises LedgerError when nothing else is told."""
        if not self._tell((self.file,), number, at) and not self.others:
            raise LedgerError(f"witness {self.file.path}: {_UNWRITABLE}")

    def end(self, ledger: Ledger, now: datetime) -> None:
        """Tell everybody how far the ledger is."""
        self.tell_all(ledger, now)

    def tell_all(self, ledger: Ledger, now: datetime) -> None:
        """Tell every witness the ledger's generation and last sending."""
        with ledger.writing() as conn:
            self._generation = restoring.generation(conn)
            last = restoring.last_sending(conn)
        if last is not None:
            self._tell((self.file, *self.others), last.number, now)

    def _tell(self, some: Iterable[Witness], number: int, until: datetime) -> int:
        """Return how many took it; each that did not is told in the log."""
        taken = 0
        for one in some:
            try:
                one.note(Seen(self._generation, number, until))
                taken += 1
            except OSError as trouble:
                log.warning("a witness could not be written: %s", type(trouble).__name__)
        return taken


def forgotten(ledger: Ledger, seen: Sequence[Seen]) -> list[Seen]:
    """Return what the witnesses saw and the ledger neither remembers nor has had reconciled.

    ``seen`` was read before the ledger is, which tells them before it tells anybody else.
    """
    with ledger.reading() as conn:
        return [one for one in seen if not _known(conn, one)]


def _known(conn: Connection, seen: Seen) -> bool:
    known: tuple[Stretch, ...] = restoring.stretches(conn)
    if any(one.generation == seen.generation and seen.number <= one.number for one in known):
        return True
    if not restoring.is_generation(conn, seen.generation):
        return False
    last = restoring.last_sending(conn)
    return last is not None and seen.number <= last.number
