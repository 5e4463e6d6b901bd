"""How often one client, or the bearer of one token, may ask: what is signed by a provider is never held back."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

# Clients remembered at once; the one that was silent longest is forgotten first, and begins anew.
_MOST_CLIENTS = 50_000


class Buckets:
    """A bucket of tokens per key: it holds a minute's worth and fills evenly. In memory, for one process."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens, as of)

    def wait(self, key: str) -> int:
        """Take a token; return 0, or after how many whole seconds to come again."""
        now = self._clock()
        left, at = self._left.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        short = left < 1
        self._left[key] = (left if short else left - 1, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return max(1, round((1 - left) / self._per_second)) if short else 0


def client(request: Request, header: str | None) -> str:
    """Return who asks: the last address in the header that our own proxy sets, else the connection's."""
    if header is not None:
        told = request.headers.getlist(header)
        if told:
            # What stands before it was said by somebody further away, and may be made up.
            return told[-1].rpartition(",")[2].strip()[:60]
    return request.client.host if request.client else ""
