"""Links that leave with a message: signed, short, without personal data; the redirect knows no other targets."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from tidings.errors import DefinitionError, TemplateError

if TYPE_CHECKING:
    from hashlib import _Hash

MOST_LINKS = 120  # link numbers a token can carry; one more distinct link is a mistake in the template
_MAC = 16  # bytes: HMAC-SHA256 truncated to 128 bits
_DOMAIN = b"tidings link 1\0"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_UNSUBSCRIBE, _PREFERENCES, _RAW = 120, 121, 128


class TokenKind(StrEnum):
    """What a token allows its bearer."""

    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature held. ``n`` is the link number of a click, else 0."""

    kind: TokenKind
    message_id: str
    n: int = 0


class Signer:
    """Signs message ids into tokens and reads them back.

    A token is: one character of key id, then base64url of one byte (kind and link number), the message id and
    a 128-bit MAC over both. A 96-bit message id (16 characters of base64url) makes a token of 40 characters, a
    uuid's hex one of 45. New tokens are signed with ``current``; old keys keep reading (rotation).
    """

    def __init__(self, keys: Mapping[str, bytes], current: str | None = None) -> None:
        for name, key in keys.items():
            if len(name) != 1 or not (name.isascii() and name.isalnum()):
                raise DefinitionError(f"link keys: an id must be one letter or digit; found {name!r}")
            if len(key) < 16:
                raise DefinitionError(f"link keys: key {name!r} must have at least 16 bytes; found {len(key)}")
        self._keys = dict(keys)
        self._current = current if current is not None else max(keys, default="")
        if self._current not in self._keys:
            raise DefinitionError(f"link keys: current must be one of {sorted(keys)}; found {self._current!r}")
        self._keyed = _keyed(self._keys[self._current])

    def click(self, message_id: str, n: int) -> str:
        """Return the token of a message's ``n``-th link, counted from 0."""
        if not 0 <= n < MOST_LINKS:
            raise ValueError(f"a message has at most {MOST_LINKS} links; found number {n}")
        return self._sign(n, message_id)

    def unsubscribe(self, message_id: str) -> str:
        """Return the token that lets the recipient of a message opt out."""
        return self._sign(_UNSUBSCRIBE, message_id)

    def preferences(self, message_id: str) -> str:
        """Return the token that opens the recipient's choices."""
        return self._sign(_PREFERENCES, message_id)

    def read(self, token: str) -> Token | None:
        """Return what a token says if we signed it with a key we still hold; never an exception."""
        if not 24 <= len(token) <= 120 or not token.isascii():
            return None
        key = self._keys.get(token[0])
        body = _decoded(token[1:])
        if key is None or body is None or len(body) <= _MAC + 1:
            return None
        said, mac = body[:-_MAC], body[-_MAC:]
        if not hmac.compare_digest(_mac(key, said), mac):
            return None
        kind = said[0] & ~_RAW
        message_id = _unpacked(said[0], said[1:])
        if kind < MOST_LINKS:
            return Token(TokenKind.CLICK, message_id, kind)
        return Token(TokenKind.UNSUBSCRIBE if kind == _UNSUBSCRIBE else TokenKind.PREFERENCES, message_id)

    def stamp(self, message_id: str, at: datetime) -> str:
        """Return proof that a page about this message was shown at a moment; it is no token and opens nothing."""
        said = f"{int(at.timestamp())}"
        return f"{self._current}{said}.{_stamp(self._keys[self._current], message_id, said)}"

    def stamped(self, stamp: str, message_id: str, now: datetime, within: timedelta) -> bool:
        """Return whether such a page was shown so lately; never an exception."""
        said, _, mac = stamp[1:].partition(".")
        key = self._keys.get(stamp[:1])
        if key is None or not said.isdecimal() or len(said) > 12 or not mac.isascii():
            return False
        if not hmac.compare_digest(mac, _stamp(key, message_id, said)):
            return False
        return abs(now.timestamp() - int(said)) <= within.total_seconds()

    def _sign(self, kind: int, message_id: str) -> str:
        raw, packed = _packed(message_id)
        said = bytes((kind | raw,)) + packed
        inner, outer = self._keyed
        inside, outside = inner.copy(), outer.copy()
        inside.update(said)
        outside.update(inside.digest())
        body = b2a_base64(said + outside.digest()[:_MAC], newline=False)
        return self._current + body.translate(_URL_SAFE).decode("ascii").rstrip("=")


def _keyed(key: bytes) -> tuple[_Hash, _Hash]:
    """Return the two hashes of ``_mac`` with all that is the same for every token taken in: twice as fast."""
    block = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block) + _DOMAIN), sha256(bytes(byte ^ 0x5C for byte in block))


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + said, "sha256")[:_MAC]


def _stamp(key: bytes, message_id: str, said: str) -> str:
    return urlsafe_b64encode(
        hmac.digest(key, f"tidings stamp 1\0{message_id}\0{said}".encode(), "sha256")[:_MAC]
    ).decode()


def _decoded(text: str) -> bytes | None:
    try:
        body = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    # One token, one spelling: base64 decoding forgives stray characters and unused bits.
    return body if urlsafe_b64encode(body).decode().rstrip("=") == text else None


@lru_cache(maxsize=1024)
def _packed(message_id: str) -> tuple[int, bytes]:
    if len(message_id) == 16 and (packed := _decoded(message_id)) is not None:
        return 0, packed
    if len(message_id) == 32 and all(c in "0123456789abcdef" for c in message_id):
        return 0, bytes.fromhex(message_id)
    return _RAW, message_id.encode()


def _unpacked(head: int, packed: bytes) -> str:
    if head & _RAW:
        return packed.decode()
    return urlsafe_b64encode(packed).decode() if len(packed) == 12 else packed.hex()


@lru_cache(maxsize=65_536)
def safe_url(url: str) -> str | None:
    """Return the URL if a message may lead there: https, or http on 127.0.0.1; no credentials, no odd characters."""
    if not url or len(url) > 2000 or not url.isprintable() or any(c in url for c in ' \\"<>`{}|^'):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    if parts.scheme == "https" or (parts.scheme == "http" and host == "127.0.0.1"):
        return quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    return None


@lru_cache(maxsize=65_536)
def with_utm(url: str, utm: tuple[tuple[str, str], ...]) -> str:
    """Return the URL with the UTM parameters it does not already carry."""
    parts = urlsplit(url)
    has = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in utm if value and name not in has)
    if not added:
        return url
    return parts._replace(query=f"{parts.query}&{added}" if parts.query else added).geturl()


@lru_cache(maxsize=1024)
def utm(channel: str, campaign: str, step: str, source: str = "tidings") -> tuple[tuple[str, str], ...]:
    """Return the UTM parameters of one step: who sent it, how, for which campaign."""
    return (("utm_source", source), ("utm_medium", channel), ("utm_campaign", campaign), ("utm_content", step))


class Links:
    """The links of one message: numbers each distinct target once, and spells what stands in the message.

    ``tracked=False`` leaves plain links (UTM parameters kept: they name the campaign, never the person) for
    people without tracking consent; their opt-out links are signed all the same.
    """

    __slots__ = ("_asked", "_numbers", "_public_url", "_signer", "message_id", "tracked", "utm")

    def __init__(
        self,
        signer: Signer,
        public_url: str,
        message_id: str,
        *,
        tracked: bool = True,
        utm: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._signer = signer
        self._public_url = public_url.rstrip("/")
        self._numbers: dict[str, str] = {}
        self._asked: dict[str, str] = {}  # what was given, and what was written for it
        self.message_id = message_id
        self.tracked = tracked
        self.utm = utm

    def to(self, url: str) -> str:
        """Return what to write for a link to ``url``. Raises TemplateError for a target no message may have."""
        known = self._asked.get(url) if type(url) is str else None
        if known is not None:
            return known
        target = safe_url(str(url))
        if target is None:
            raise TemplateError("a link must be an https address without spaces or credentials")
        target = with_utm(target, self.utm)
        written = self._numbers.get(target)
        if written is None:
            n = len(self._numbers)
            if n >= MOST_LINKS:
                raise TemplateError(f"a message may have at most {MOST_LINKS} different links")
            written = f"{self._public_url}/c/{self._signer.click(self.message_id, n)}" if self.tracked else target
            self._numbers[target] = written
        if type(url) is str:
            self._asked[url] = written
        return written

    @property
    def targets(self) -> tuple[str, ...]:
        """The distinct targets so far; a target's place is its link number."""
        return tuple(self._numbers)

    @property
    def unsubscribe_url(self) -> str:
        """The address that opts out: GET confirms, POST does it (RFC 8058)."""
        return f"{self._public_url}/u/{self._signer.unsubscribe(self.message_id)}"

    @property
    def preferences_url(self) -> str:
        """The address of the recipient's choices."""
        return f"{self._public_url}/p/{self._signer.preferences(self.message_id)}"
