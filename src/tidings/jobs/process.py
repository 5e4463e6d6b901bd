"""What a lane does to its own process while it works: signals, the cyclic collector, the turns of its threads."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Iterator

# Seconds. A thread that comes back from the ledger waits so long at most for one that computes.
_TURN = 0.0005


def runner() -> asyncio.Runner:
    """Return what runs a lane's loop."""
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Let a TERM signal end the lane after the messages in flight; only the main thread may listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Look for reference cycles less often, and let threads take turns more often.

    A batch is thousands of plain values that die together by themselves. And the loop gives way to the ledger and to
    rendering at every step; it would stand behind them for ten times as long as an answer takes to handle.
    """
    before, turn = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        sys.setswitchinterval(turn)
