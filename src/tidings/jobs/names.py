"""What the world's name servers say: an empty answer is an answer, and only silence is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Unreachable(Exception):
    """No name server answered: nothing can be said."""


class Names(Protocol):
    """Where DNS records come from: the machine's own name servers, or others."""

    def look_up(self, name: str, kind: str) -> list[str]:
        """Return the records of a kind (TXT, CNAME, A, AAAA, MX), none when there are none. Raises Unreachable."""


class NameServers:
    """DNS as this machine asks it, or the servers that are given. Aliases are followed, except for CNAME."""

    def __init__(self, servers: Sequence[str] | None = None, *, port: int = 53, patience: float = 4.0) -> None:
        self._servers, self._port, self._patience = servers, port, patience
        self._resolver: Any = None

    def look_up(self, name: str, kind: str) -> list[str]:
        """Return the records; texts that come in parts are one text."""
        import dns.exception
        import dns.resolver

        try:
            if self._resolver is None:
                self._resolver = dns.resolver.Resolver(configure=self._servers is None)
                if self._servers is not None:
                    self._resolver.nameservers, self._resolver.port = list(self._servers), self._port
                self._resolver.lifetime = self._patience
            found = self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
            return []
        except (dns.exception.DNSException, OSError) as silence:
            raise Unreachable(type(silence).__name__) from None
        if kind == "TXT":
            return [b"".join(one.strings).decode("utf-8", "replace") for one in found]
        return [str(getattr(one, "target", None) or getattr(one, "exchange", None) or one).rstrip(".") for one in found]
