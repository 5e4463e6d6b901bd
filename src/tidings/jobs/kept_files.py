"""The project's own files that hold messages (outbox, sandbox): a forgotten person's lines are blanked in place."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import orjson

from tidings.plan.eligibility import email_address, phone_number
from tidings.plan.erased import mailbox

# What a line keeps: which message it was and when, so that whoever reads the file still finds every line whole.
_KEPT = frozenset({"no", "provider", "id", "message", "message_id", "channel", "sender", "at", "arrived", "segments"})


def blank_lines(folder: Path, addresses: Collection[str], message_ids: Collection[str]) -> int:
    """Blank the lines about these addresses or messages in every ``*.jsonl`` below the folder; return how many.

    In place and of the same length: a process that is appending at this moment goes on undisturbed.
    """
    wanted = {_plain(one) for one in addresses}
    return sum(_blank(path, wanted, message_ids) for path in sorted(folder.rglob("*.jsonl")))


def _blank(path: Path, wanted: Collection[str], message_ids: Collection[str]) -> int:
    count, at = 0, 0
    with path.open("rb") as lines, os.fdopen(os.open(path, os.O_WRONLY), "wb", buffering=0) as out:
        for line in lines:
            blanked = _blanked(line, wanted, message_ids)
            if blanked is not None and blanked != line:
                os.pwrite(out.fileno(), blanked, at)
                count += 1
            at += len(line)
    return count


def _blanked(line: bytes, wanted: Collection[str], message_ids: Collection[str]) -> bytes | None:
    """Return what stands in a line's place, or None for a line about somebody else."""
    if not line.endswith(b"\n"):
        return None
    try:
        record: dict[str, Any] = orjson.loads(line)
        about = {record.get("message_id"), record.get("message")}
        theirs = _plain(str(record.get("to", ""))) in wanted or not about.isdisjoint(message_ids)
    except (ValueError, AttributeError):
        return None
    if not theirs:
        return None
    kept = {name: value if name in _KEPT else _nothing(value) for name, value in record.items()}
    return orjson.dumps(kept).ljust(len(line) - 1) + b"\n"


def _nothing(value: Any) -> Any:
    """Return an empty value of the same kind."""
    if isinstance(value, str):
        return ""
    return [] if isinstance(value, list) else {} if isinstance(value, dict) else None


def _plain(address: str) -> str:
    email = email_address(address)
    return mailbox(email) if email is not None else phone_number(address, None) or address.strip().lower()
