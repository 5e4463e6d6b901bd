"""Who receives an e-mail: the mailbox provider behind an address, never whose mailbox it is."""

from __future__ import annotations

from functools import lru_cache

GMAIL, OUTLOOK, YAHOO, APPLE, OTHER = "gmail", "outlook", "yahoo", "apple", "other"
MAILBOXES = (GMAIL, OUTLOOK, YAHOO, APPLE, OTHER)
# Gmail tells senders of no complaint; its rates come from Postmaster Tools, as a file.
SILENT = frozenset({GMAIL})

_DOMAINS = {
    "gmail.com": GMAIL, "googlemail.com": GMAIL,
    "msn.com": OUTLOOK, "passport.com": OUTLOOK,
    "aol.com": YAHOO, "ymail.com": YAHOO, "rocketmail.com": YAHOO, "myyahoo.com": YAHOO,
    "icloud.com": APPLE, "me.com": APPLE, "mac.com": APPLE,
}  # fmt: skip
# Under many countries' names: hotmail.fr, live.co.uk, yahoo.co.jp.
_NAMES = {"outlook": OUTLOOK, "hotmail": OUTLOOK, "live": OUTLOOK, "yahoo": YAHOO, "aol": YAHOO}
# "live.at.example" is no country's name.
_MIDDLES = frozenset({"co", "com", "net"})


def mailbox(address: str) -> str:
    """Return ``gmail``, ``outlook``, ``yahoo``, ``apple`` or ``other`` for an e-mail address.

    A company's own domain is ``other``, whoever runs its mail: that is not in the address.
    """
    return _of_domain(address.rpartition("@")[2].lower().rstrip("."))


@lru_cache(maxsize=4096)
def _of_domain(domain: str) -> str:
    known = _DOMAINS.get(domain)
    if known is not None:
        return known
    first, _, rest = domain.partition(".")
    middle, dot, country = rest.rpartition(".")
    plain = rest == "com" or (len(country) == 2 and (not dot or middle in _MIDDLES))
    return _NAMES.get(first, OTHER) if plain else OTHER
