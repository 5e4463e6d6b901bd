"""Who opens links without being a person, by what they call themselves; the list is data beside this file."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=4096)
def is_scanner(agent: str) -> bool:
    """Return whether this User-Agent is a known scanner's, link preview's or script's; a request without one is."""
    known = _names()
    said = agent.strip().lower()
    return ("<none>" in known) if not said else any(name in said for name in known)


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    text = resources.files("tidings.channels").joinpath("scanners.txt").read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
