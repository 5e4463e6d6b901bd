"""Misbehaviour on demand: which of the next requests go wrong, and how."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

# Kinds whose request is accepted all the same: the answer alone is lost, late or unreadable.
AFTER_ACCEPT = ("drop_after_accept", "half_after_accept", "timeout_after_accept", "garbage", "slow")
BEFORE_ACCEPT = ("400", "401", "403", "404", "413", "429", "500", "502", "503", "504", "timeout", "drop", "code")
KINDS = BEFORE_ACCEPT + AFTER_ACCEPT


@dataclass(slots=True)
class Fault:
    """One kind of trouble. ``count`` requests meet it (all, when None), each with the chance ``share``.

    ``retry_after`` (seconds) goes with 429, ``seconds`` is the delay of slow, ``code`` Twilio's error code.
    """

    kind: str
    provider: str = "any"
    count: int | None = None
    share: float = 1.0
    retry_after: float | None = None
    seconds: float = 1.0
    code: int = 21610

    @classmethod
    def read(cls, given: dict[str, Any]) -> Fault:
        """Return the fault a request describes. Raises ValueError that names the field and what is allowed."""
        unknown = given.keys() - {"kind", "provider", "count", "share", "retry_after", "seconds", "code"}
        if unknown:
            raise ValueError(f"{sorted(unknown)[0]}: is not a field of a fault")
        fault = cls(**{**given, "kind": str(given.get("kind"))})
        if fault.kind not in KINDS:
            raise ValueError(f'kind: must be one of {", ".join(KINDS)}; found "{fault.kind}"')
        if fault.provider not in ("any", "sendgrid", "twilio"):
            raise ValueError(f'provider: must be any, sendgrid or twilio; found "{fault.provider}"')
        if not 0 < fault.share <= 1:
            raise ValueError(f"share: must be above 0 and at most 1; found {fault.share}")
        if fault.count is not None and fault.count < 1:
            raise ValueError(f"count: must be at least 1; found {fault.count}")
        return fault


class Faults:
    """The faults in force, the oldest first; a seed makes their chances repeatable."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: list[Fault] = []
        self._chance = random.Random(seed)

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def next(self, provider: str) -> Fault | None:
        """Return the fault that this request meets, and count it."""
        for fault in self._faults:
            if fault.provider not in ("any", provider) or self._chance.random() >= fault.share:
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self._faults.remove(fault)
            return fault
        return None
