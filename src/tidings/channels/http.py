"""One pooled HTTP session per provider; what breaks on the way is Retry (nothing left us) or Unknown (it may have)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp

from tidings.errors import Retry, Unknown

# An answer longer than this is cut: error envelopes are a few hundred bytes.
ANSWER_LIMIT = 64 * 1024
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
    """Keep-alive connections to one provider, at most ``connections`` at once, opened when first used."""

    def __init__(self, base_url: str, *, connections: int = 100, limits: TimeLimits | None = None) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise ValueError(f'a provider address must begin with https:// or http://; found "{base_url}"')
        self.base_url = base_url.rstrip("/")
        self.connections = connections
        self.limits = limits or TimeLimits()
        self._session: aiohttp.ClientSession | None = None
        self._slots: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        """Post and return the answer, whatever its status. Raises ``Retry`` or ``Unknown`` when there is none.

        A cancelled request closes its connection; whether it was taken is then unknown to the caller as well.
        """
        session, slots = self._open()
        # The slots keep waiting for a connection out of the connector, where a time-out before anything was sent
        # and one after cannot be told apart.
        async with slots:
            try:
                return await self._exchange(session, path, body, headers)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as never_connected:
                raise Retry(f"no connection: {type(never_connected).__name__}") from None
            except (aiohttp.ClientError, OSError, TimeoutError) as lost:
                raise Unknown(f"no answer: {type(lost).__name__}") from None

    async def close(self) -> None:
        """Give the connections back; a later post opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self, session: aiohttp.ClientSession, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        url = self.base_url + path
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await _beginning(response.content))

    def _open(self) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._slots is None or self._loop is not loop:
            # Idle connections are given up before a usual load balancer (60 s) does, or a request meets a closed one.
            connector = aiohttp.TCPConnector(limit=self.connections, ttl_dns_cache=300, keepalive_timeout=30)
            times = aiohttp.ClientTimeout(
                total=self.limits.whole, connect=self.limits.connect, sock_read=self.limits.read
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=times, headers={"User-Agent": "tidings"},
                cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True,
            )  # fmt: skip
            self._slots = asyncio.Semaphore(self.connections)
            self._loop = loop
        return self._session, self._slots


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    found = bytearray()
    try:
        async for chunk in content.iter_any():
            found += chunk
            if len(found) >= ANSWER_LIMIT:
                break
    except (aiohttp.ClientError, OSError, TimeoutError):
        return b""  # the status line and the headers still count
    return bytes(found)
