"""Reports kept for a moment: a figure may be as old as twenty times what it took to read, and never over a minute."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tidings.measure.figures import Report

_TIMES = 20
_LONGEST = 60.0
_KEPT = 32

_Key = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class _Read:
    report: Report
    good_until: float


class Recent:
    """Reads each report once for readers who come at the same time or soon after. A failure is not kept."""

    def __init__(
        self, reports: Callable[[int, str | None], Report], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reports, self._clock = reports, clock
        self._known: OrderedDict[_Key, _Read] = OrderedDict()
        self._reading: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, days: int, currency: str | None) -> Report:
        """Return a report that was read lately. Raises what reading raises."""
        key = (days, currency)
        with self._lock:
            # Whoever comes while it is read waits for that reading and does not start another.
            turn = self._reading.setdefault(key, threading.Lock())
        with turn:
            known = self._known.get(key)
            if known is not None and self._clock() < known.good_until:
                return known.report
            started = self._clock()
            report = self._reports(days, currency)
            ended = self._clock()
            with self._lock:
                self._known[key] = _Read(report, ended + min(_TIMES * (ended - started), _LONGEST))
                self._known.move_to_end(key)
                while len(self._known) > _KEPT:
                    gone, _ = self._known.popitem(last=False)
                    self._reading.pop(gone, None)
            return report
