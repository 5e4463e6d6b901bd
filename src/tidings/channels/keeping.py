"""What is kept of an event: its facts word for word, everybody in it as a keyed hash."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

Hide = Callable[[str], str]

SENDGRID = frozenset({
    "event", "timestamp", "sg_event_id", "sg_message_id", "smtp-id", "type", "status", "reason", "response", "attempt",
    "useragent", "ip", "email", "url", "url_offset", "category", "asm_group_id", "tls", "cert_err", "pool", "d",
    "bounce_classification", "sg_machine_open", "sg_content_type", "send_at", "newsletter", "marketing_campaign_id",
    "marketing_campaign_name", "marketing_campaign_version", "marketing_campaign_split_id", "post_type",
})  # fmt: skip
TWILIO = frozenset({
    "MessageSid", "SmsSid", "SmsMessageSid", "MessageStatus", "SmsStatus", "AccountSid", "MessagingServiceSid", "From",
    "To", "ErrorCode", "ErrorMessage", "ApiVersion", "NumMedia", "NumSegments", "OptOutType", "RawDlrDoneDate",
    "ChannelPrefix", "FromCountry", "ToCountry", "Body",
})  # fmt: skip
# Fields that are nothing but an address, whatever it looks like.
_ADDRESSES = frozenset({"email", "ip", "From", "To"})
_LONGEST, _DEEPEST, _WIDEST = 1000, 4, 50
# E-mail addresses; IPv4; IPv6 of at least three groups; numbers in E.164. Each is looked for only in a text with enough
# of its mark, which most have not.
_PEOPLE = (
    ("@", 1, re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;()\[\]]+")),
    (".", 3, re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")),
    (":", 2, re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,6}(?![0-9A-Fa-f:])")),
    ("+", 1, re.compile(r"\+[1-9]\d{6,14}(?!\d)")),
)
# The token in a link of ours is its bearer's permission.
_TOKEN = re.compile(r"/([cup])/[A-Za-z0-9_-]{24,120}")


def kept(given: Mapping[str, Any], known: Collection[str], hide: Hide) -> str:
    """Return an event as JSON in which nobody stands: addresses, IP and phone numbers are what ``hide`` makes of them.

    Fields that the provider does not document may hold anything: their values are hidden whole. Long words are cut,
    deep values left out.
    """
    local = str(given.get("email") or "").partition("@")[0]

    def plain(name: str, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return text(name, value)
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
            return value
        if depth < _DEEPEST and isinstance(value, list):
            return [plain(name, one, depth + 1) for one in value[:_WIDEST]]
        if depth < _DEEPEST and isinstance(value, dict):
            parts = list(value.items())[:_WIDEST]
            return {text("", str(key)): plain(name, one, depth + 1) for key, one in parts}
        return None

    def text(name: str, value: str) -> str:
        value = value[:_LONGEST].encode("utf-8", "replace").decode()
        if name in _ADDRESSES:
            return hide(value) if value else ""
        without = _TOKEN.sub(r"/\1/", value) if len(value) > 25 else value
        for mark, many, whom in _PEOPLE:
            if mark in without and without.count(mark) >= many:
                without = whom.sub(lambda found: hide(found[0]), without)
        if len(local) > 2 and name in ("reason", "response"):
            without = without.replace(local, "[local part]")
        return without

    documented = {name: plain(name, given[name]) for name in sorted(given.keys() & known)}
    others = sorted(given.keys() - documented.keys())[:_WIDEST]
    hidden = {text("", str(name)): hide(str(given[name])[:_LONGEST]) for name in others}
    return orjson.dumps(hidden | documented).decode()
