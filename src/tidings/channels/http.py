"""A pool of connections per provider; what breaks on the way is Retry (nothing left us) or Unknown (it may have)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from tidings.channels.wire import Lost, Place, Wire
from tidings.errors import Retry, Unknown

# Idle connections are given up before a usual load balancer (60 s) does, or a request meets a closed one.
_IDLE = 30.0
_EMAIL = re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;()\[\]]+")
_PHONE = re.compile(r"\+?\d(?:[ \-()]{0,3}\d){6,}")


def scrubbed(text: str, limit: int = 160) -> str:
    """Return a provider's own words without addresses, numbers or line breaks: they go to the ledger."""
    without = _PHONE.sub("[number]", _EMAIL.sub("[address]", text))
    return " ".join(without.split())[:limit]


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds. ``connect`` covers DNS, TCP and TLS; ``read`` each silence afterwards; ``whole`` the request."""

    connect: float = 3.0
    read: float = 10.0

    @property
    def whole(self) -> float:
        return self.connect + self.read + 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body`` is empty when only the status line and the headers arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def retry_after(self, clock: Callable[[], float] = time.time) -> float | None:
        """Return the seconds to wait that ``Retry-After`` or ``X-RateLimit-Reset`` asks for, if either does."""
        asked = self.headers.get("Retry-After", "").strip()
        if asked.isdigit():
            return float(asked)
        reset = self.headers.get("X-RateLimit-Reset", "").strip()
        try:
            # Both are instants on the provider's clock, so its Date header is the better "now".
            sent = self.headers.get("Date")
            now = parsedate_to_datetime(sent).timestamp() if sent else clock()
            then = parsedate_to_datetime(asked).timestamp() if asked else float(reset)
        except (ValueError, OverflowError):
            return None
        return min(max(0.0, then - now), 86_400.0)


class Pool:
    """Keep-alive connections to one provider, at most ``connections`` at once, opened when first used.

    A whole client library would cost as much per message as rendering it does (docs/performance.md); a provider's
    API needs one kind of request, and of that we want to know exactly whether it left.
    """

    def __init__(self, base_url: str, *, connections: int = 100, limits: TimeLimits | None = None) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise ValueError(f'a provider address must begin with https:// or http://; found "{base_url}"')
        self.connections = connections
        self.limits = limits or TimeLimits()
        self._place = Place.of(base_url)
        # A provider says the same on every request; only the length of its body changes.
        self._head: tuple[tuple[object, ...], bytes] = ((), b"")
        self._idle: list[Wire] = []
        self._slots: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and return the answer, whatever its status. Raises ``Retry`` or ``Unknown`` when there is none.

        A cancelled request closes its connection; whether it was taken is then unknown to the caller as well.
        """
        same = (path, *headers.items())
        if self._head[0] != same:
            self._head = (same, self._place.head(path, headers))
        request = b"%b%d\r\n\r\n%b" % (self._head[1], len(body), body)
        async with self._open():
            wire = await self._wire()
            try:
                reply = await wire.ask(request, silence=self.limits.read, whole=self.limits.whole)
            except (Lost, OSError, TimeoutError) as lost:
                raise Unknown(f"no answer: {type(lost).__name__}") from None
            self._give_back(wire)
        return Answer(reply.status, reply.headers, reply.body)

    async def close(self) -> None:
        """Give the connections back; a later post opens new ones."""
        idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()
        # A connection says goodbye in the next turns of the loop.
        await asyncio.sleep(0)

    async def _wire(self) -> Wire:
        """Return a connection that can carry a request, the one used last or a new one."""
        oldest = asyncio.get_running_loop().time() - _IDLE
        while self._idle:
            wire = self._idle.pop()
            if wire.open and wire.idle_since > oldest:
                return wire
            wire.close()
        try:
            async with asyncio.timeout(self.limits.connect):
                return await Wire.connect(self._place)
        except (OSError, TimeoutError, UnicodeError) as never_connected:
            raise Retry(f"no connection: {type(never_connected).__name__}") from None

    def _give_back(self, wire: Wire) -> None:
        if wire.open:
            wire.idle_since = asyncio.get_running_loop().time()
            self._idle.append(wire)
        else:
            wire.close()

    def _open(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._slots is None or self._loop is not loop:
            self._slots, self._loop, self._idle = asyncio.Semaphore(self.connections), loop, []
        return self._slots
