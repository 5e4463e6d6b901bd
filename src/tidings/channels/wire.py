"""One kept-alive HTTP/1.1 connection: a request leaves whole, and its answer comes back whole or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser
from multidict import CIMultiDict

# An answer longer than this is cut: error envelopes are a few hundred bytes.
ANSWER_LIMIT = 64 * 1024
# Nobody needs more header lines than this.
_MOST_HEADERS = 256


class Lost(ConnectionError):
    """The connection ended, or what came over it was no answer. The request may have been taken."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (looked up in any case) and body; the body is empty when it did not arrive whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider's address leads: connect to ``host`` and ``port``, ask below ``prefix``."""

    host: str
    port: int
    tls: bool
    prefix: str
    named: str  # as the Host header has it

    @classmethod
    def of(cls, base_url: str) -> Place:
        """Return the place of an address that begins with https:// or http://."""
        parts = urlsplit(base_url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, tls, parts.path.rstrip("/"), parts.netloc.rpartition("@")[2])

    def head(self, path: str, headers: Mapping[str, str]) -> bytes:
        """Return a POST's first lines, up to the length of its body. Raises ValueError for a line break in them."""
        said = {"Host": self.named, "User-Agent": "tidings", "Accept": "*/*", "Accept-Encoding": "identity"}
        for name, value in headers.items():
            said[name.title()] = value
        lines = [f"POST {self.prefix}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header must not hold a line break")
        return ("\r\n".join(lines) + "\r\nContent-Length: ").encode()


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


class Wire(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._open = True
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._silent_until = 0.0
        self._begin_answer()

    @property
    def open(self) -> bool:
        """Whether it can carry another request."""
        return self._open and self._transport is not None and not self._transport.is_closing()

    @classmethod
    async def connect(cls, place: Place) -> Wire:
        """Return an open connection. Raises OSError (of which TLS failures are one): nothing was sent."""
        loop = asyncio.get_running_loop()
        tls = _trusted() if place.tls else None
        _, wire = await loop.create_connection(cls, place.host, place.port, ssl=tls)
        return wire

    async def ask(self, request: bytes, *, silence: float, whole: float) -> Reply:
        """Send a request and return its answer. Raises Lost, or TimeoutError after ``silence`` or ``whole`` seconds.

        After an exception, a cancellation included, the connection is closed: a late answer finds nobody.
        """
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._begin_answer()
        self._longest, self._latest = silence, loop.time() + whole
        waiting: asyncio.Future[Reply] = loop.create_future()
        self._waiting = waiting
        self._listen(loop)
        try:
            self._transport.write(request)
            return await waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        """Hang up."""
        self._open = False
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._transport is not None:
            self._transport.abort()

    def _begin_answer(self) -> None:
        self._parser = HttpResponseParser(self)
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._body = bytearray()
        self._headed = False

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        self._silent_until = min(loop.time() + self._longest, self._latest)
        if self._silence is not None and self._silence.when() > self._silent_until:
            self._silence.cancel()
            self._silence = None
        if self._silence is None:
            self._silence = loop.call_at(self._silent_until, self._look)

    def _look(self) -> None:
        """End a request that was silent for too long. One timer serves all that follow one another: most are quick."""
        self._silence = None
        if self._waiting is None or self._waiting.done():
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            self._silence = loop.call_at(self._silent_until, self._look)
        else:
            self._fail(TimeoutError("no answer in time"))

    def _fail(self, why: Exception) -> None:
        self._open = False
        if self._waiting is not None and not self._waiting.done():
            if self._headed:
                self._answer(b"")  # the status line and the headers still count
            else:
                self._waiting.set_exception(why)
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, body: bytes) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Reply(self._parser.get_status_code(), self._headers, body))

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on; bytes that nobody asked for end the connection."""
        if self._waiting is None or self._waiting.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._fail(Lost("the answer is not HTTP"))
            return
        if not self._waiting.done():
            self._listen(asyncio.get_running_loop())

    def eof_received(self) -> bool:
        """Hang up as well; a body that only the end of the connection ends is whole now."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._open = False
        if self._waiting is None or self._waiting.done():
            return
        endless = "Content-Length" not in self._headers and "Transfer-Encoding" not in self._headers
        if self._headed and error is None and endless:
            self._answer(bytes(self._body))
        else:
            self._fail(Lost("the connection ended"))

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A second answer to one request: whatever comes next here could be taken for another's."""
        if self._waiting is None or self._waiting.done():
            self._open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if self._open and len(self._headers) < _MOST_HEADERS:
            self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """From here on there is an answer, whatever becomes of the rest."""
        self._headed = self._parser.get_status_code() >= 200

    def on_body(self, part: bytes) -> None:
        """Keep the body up to the limit, and hang up beyond it."""
        self._body += part
        if len(self._body) >= ANSWER_LIMIT:
            self._open = False
            self._answer(bytes(self._body[:ANSWER_LIMIT]))

    def on_message_complete(self) -> None:
        """Hand the answer over; 1xx are steps on the way to one."""
        if self._parser.get_status_code() < 200:
            self._headers = CIMultiDict()
            self._body.clear()
            return
        if not self._parser.should_keep_alive():
            self._open = False
        self._answer(bytes(self._body))
