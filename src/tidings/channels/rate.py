"""How fast a provider may be offered messages: a bucket per account and per sender, and a pause it asked for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from tidings.errors import Retry

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Bucket:
    """So many messages a second, ``burst`` of them at once. It counts this process only: divide a limit by the lanes.

    Kept as one number, the moment at which the bucket would be full again, so that a turn costs one addition.
    """

    def __init__(self, per_second: float, burst: float = 1.0) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError(f"a rate must be above 0 and a burst at least 1; found {per_second} and {burst}")
        self._gap = 1.0 / per_second
        self._slack = (burst - 1) * self._gap
        self._full_at = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next message may leave."""
        return max(0.0, self._full_at - self._slack - now)

    def take(self, now: float) -> None:
        """Count one message, whether or not its turn has come."""
        self._full_at = max(self._full_at, now) + self._gap


class Pace:
    """The turns of one provider account: its own rate, a rate per sender, and the pauses it asked for.

    ``patience`` bounds the wait in seconds: a message in `sending` holds a lease, so one whose turn is further off
    goes back as ``Retry``, which is safe because nothing has left yet.
    """

    def __init__(
        self,
        per_second: float | None = None,
        per_sender: Mapping[str, float] | None = None,
        *,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # A tenth of a second's worth at once: smooth for the provider, and a pool of connections still fills.
        self._account = None if per_second is None else Bucket(per_second, max(1.0, per_second / 10))
        self._senders = {who: Bucket(rate, max(1.0, rate / 10)) for who, rate in (per_sender or {}).items()}
        self._clock = clock
        self._paused_until = 0.0
        self._storms = 0
        self.patience = patience

    async def turn(self, sender: str) -> None:
        """Wait for this sender's turn; raises ``Retry`` when it is further off than the patience.

        Turns come one after the other behind a pause too, and whoever was waiting when it began queues anew.
        """
        mine = self._senders.get(sender)
        buckets = [bucket for bucket in (self._account, mine) if bucket is not None]
        began = now = self._clock()
        while True:
            wait = max([self._paused_until - now, *(bucket.wait(now) for bucket in buckets)])
            if now + wait - began > self.patience:
                raise Retry("rate limited here", after=wait, throttled=True)
            for bucket in buckets:
                bucket.take(max(now, self._paused_until))
            if wait <= 0:
                return
            await asyncio.sleep(wait)
            now = self._clock()
            if now >= self._paused_until:
                return

    def throttled(self, asked: float | None) -> None:
        """Pause after a 429 as long as was asked for; without a word, longer each time that none went well between.

        Those in flight when the storm began are one storm, not many.
        """
        if asked is None:
            if self._clock() < self._paused_until:
                return
            asked = min(FIRST_PAUSE * 2.0**self._storms, LONGEST_PAUSE)
            self._storms += 1
        self.pause(asked)

    def went_well(self) -> None:
        """Forget the storms: a message was taken."""
        self._storms = 0

    def pause(self, seconds: float) -> None:
        """Offer nothing more for so long: the provider said it counts against the whole account."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)
