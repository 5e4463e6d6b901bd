"""What SendGrid's real `/v3/mail/send` refuses, by hand: one pass over the body, its own words, no slow validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# (field, message), as they stand in SendGrid's error envelope.
Problem = tuple[str | None, str]

LARGEST_BODY = 30 * 1024 * 1024
_ADDRESS = re.compile(r"^[^\s@<>(),;:\"\[\]\\]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]+$")
_HEADER = re.compile(r"^[!-9;-~]+$")
_TOP = {
    "personalizations", "from", "reply_to", "reply_to_list", "subject", "content", "attachments", "template_id",
    "headers", "categories", "custom_args", "send_at", "batch_id", "asm", "ip_pool_name", "mail_settings",
    "tracking_settings",
}  # fmt: skip
_PERSONAL = {
    "to", "cc", "bcc", "from", "subject", "headers", "substitutions", "dynamic_template_data", "custom_args", "send_at"
}  # fmt: skip
# SendGrid overwrites or refuses these: they are its own to write.
_RESERVED_HEADERS = {
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from",
    "subject", "reply-to", "cc", "bcc",
}  # fmt: skip
_TRACKING: dict[str, dict[str, type]] = {
    "click_tracking": {"enable": bool, "enable_text": bool},
    "open_tracking": {"enable": bool, "substitution_tag": str},
    "subscription_tracking": {"enable": bool, "text": str, "html": str, "substitution_tag": str},
    "ganalytics": {"enable": bool, "utm_source": str, "utm_medium": str, "utm_term": str, "utm_content": str,
                   "utm_campaign": str},
}  # fmt: skip
_WORDS = {str: "string", int: "integer", bool: "boolean", dict: "object", list: "array", float: "number"}


def problems(body: Any, now: float) -> list[Problem]:
    """Return everything SendGrid would refuse this body for; empty when it would take it. ``now`` in epoch seconds."""
    if not isinstance(body, dict):
        return [(None, "Bad Request")]
    return list(_problems(body, now))


def _problems(body: dict[str, Any], now: float) -> Iterator[Problem]:
    for name in body.keys() - _TOP:
        yield name, f"additional property {name} is not allowed"
    yield from _nulls("", body)
    for name in ("template_id", "batch_id"):
        if not isinstance(body.get(name, ""), str):
            yield name, _type("string", body[name])
    yield from _sender(body)
    yield from _personalizations(body, now)
    yield from _content(body)
    yield from _headers("headers", body.get("headers"))
    yield from _arguments("custom_args", body.get("custom_args"))
    yield from _categories(body.get("categories"))
    yield from _moment("send_at", body.get("send_at"), now)
    yield from _attachments(body.get("attachments"))
    asm = body.get("asm")
    if asm is not None and not (isinstance(asm, dict) and type(asm.get("group_id")) is int):
        yield "asm.group_id", "The asm group_id parameter is required and must be an integer."
    pool = body.get("ip_pool_name")
    if pool is not None and not (isinstance(pool, str) and 2 <= len(pool) <= 64):
        yield "ip_pool_name", "The length of the ip_pool_name should be between 2 and 64 characters."
    tracking = body.get("tracking_settings")
    if tracking is not None:
        yield from _tracking(tracking)
    if body.get("mail_settings") is not None and not isinstance(body["mail_settings"], dict):
        yield "mail_settings", _type("object", body["mail_settings"])


def _nulls(place: str, given: dict[str, Any]) -> Iterator[Problem]:
    for name, value in given.items():
        if value is None:
            yield place + name, "Invalid type. Expected a value, given: null."


def _sender(body: dict[str, Any]) -> Iterator[Problem]:
    sender = body.get("from")
    if not isinstance(sender, dict) or not sender.get("email"):
        yield (
            "from.email",
            "The from object must be provided for every email send. It is an object that requires the email "
            "parameter, but may also contain a name parameter.",
        )
    elif not _is_address(sender["email"]):
        yield "from.email", "The from email does not contain a valid address."
    elif not isinstance(sender.get("name", ""), str):
        yield "from.name", _type("string", sender["name"])
    reply = body.get("reply_to")
    if reply is not None and not (isinstance(reply, dict) and _is_address(reply.get("email"))):
        yield "reply_to.email", "The reply_to email does not contain a valid address."
    if reply is not None and body.get("reply_to_list") is not None:
        yield "reply_to_list", "Only one of reply_to and reply_to_list may be used."


def _personalizations(body: dict[str, Any], now: float) -> Iterator[Problem]:
    given = body.get("personalizations")
    if not isinstance(given, list) or not given:
        yield "personalizations", ("The personalizations field is required and must have at least one personalization.")
        return
    if len(given) > 1000:
        yield "personalizations", "The personalizations field may not have more than 1000 personalizations."
        return
    recipients = 0
    for number, one in enumerate(given):
        place = f"personalizations.{number}"
        if not isinstance(one, dict):
            yield place, _type("object", one)
            continue
        for name in one.keys() - _PERSONAL:
            yield f"{place}.{name}", f"additional property {name} is not allowed"
        yield from _nulls(f"{place}.", one)
        recipients += sum(len(one[name]) for name in ("to", "cc", "bcc") if isinstance(one.get(name), list))
        yield from _recipients(place, one)
        yield from _subject(place, one, body)
        yield from _headers(f"{place}.headers", one.get("headers"))
        yield from _arguments(f"{place}.custom_args", one.get("custom_args"))
        yield from _arguments(f"{place}.substitutions", one.get("substitutions"))
        yield from _moment(f"{place}.send_at", one.get("send_at"), now)
    if recipients > 1000:
        yield "personalizations", "The total number of recipients may not exceed 1000 per request."


def _recipients(place: str, one: dict[str, Any]) -> Iterator[Problem]:
    if not isinstance(one.get("to"), list) or not one["to"]:
        yield (
            f"{place}.to",
            (
                "The to array is required for all personalization objects, and must have at least one email object "
                "with a valid email address."
            ),
        )
    seen: set[str] = set()
    for kind in ("to", "cc", "bcc"):
        listed = one.get(kind)
        if listed is None:
            continue
        if not isinstance(listed, list):
            yield f"{place}.{kind}", _type("array", listed)
            continue
        for number, person in enumerate(listed):
            address = person.get("email") if isinstance(person, dict) else None
            if not _is_address(address):
                yield f"{place}.{kind}.{number}.email", "Does not contain a valid address."
                continue
            if not isinstance(person.get("name", ""), str):
                yield f"{place}.{kind}.{number}.name", _type("string", person["name"])
            if str(address).lower() in seen:
                yield (
                    place,
                    (
                        "Each email address in the personalization block should be unique between to, cc, and bcc. "
                        f"We found the first duplicate instance of [{address}] in the {place}.{kind} field."
                    ),
                )
            seen.add(str(address).lower())


def _subject(place: str, one: dict[str, Any], body: dict[str, Any]) -> Iterator[Problem]:
    subject = one.get("subject", body.get("subject"))
    if subject is not None and not isinstance(subject, str):
        yield "subject", _type("string", subject)
    elif not subject and not body.get("template_id"):
        yield (
            "subject",
            (
                "The subject is required. You can get around this requirement if you use a template with a subject "
                "defined or if every personalization has a subject defined."
            ),
        )


def _content(body: dict[str, Any]) -> Iterator[Problem]:
    content = body.get("content")
    if not content:
        if not body.get("template_id"):
            yield (
                "content",
                (
                    "Unless a valid template_id is provided, the content parameter is required. There must be at least "
                    "one defined content block. We typically suggest both text/plain and text/html blocks are "
                    "included, but only one block is required."
                ),
            )
        return
    if not isinstance(content, list):
        yield "content", _type("array", content)
        return
    kinds = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str) or not block["type"]:
            yield f"content.{number}.type", "The content type is required."
            continue
        kinds.append(block["type"])
        if not isinstance(block.get("value"), str) or not block["value"]:
            yield f"content.{number}.value", "The content value must be a string at least one character in length."
    known = [kind for kind in kinds if kind in ("text/plain", "text/html")]
    if known != sorted(set(known), reverse=True) or kinds[: len(known)] != known:
        yield (
            "content",
            (
                "If present, text/plain and text/html may only be provided once, with text/plain first and text/html "
                "second, before any other content."
            ),
        )


def _headers(place: str, headers: Any) -> Iterator[Problem]:
    if headers is None:
        return
    if not isinstance(headers, dict):
        yield place, _type("object", headers)
        return
    for name, value in headers.items():
        if name.lower() in _RESERVED_HEADERS:
            yield f"{place}.{name}", f"The header {name} is reserved and may not be used."
        if not isinstance(value, str):
            yield f"{place}.{name}", _type("string", value)
        elif not _HEADER.match(name) or "\n" in value or "\r" in value:
            yield f"{place}.{name}", "Headers must be ASCII names with values on one line."


def _arguments(place: str, given: Any) -> Iterator[Problem]:
    if given is None:
        return
    if not isinstance(given, dict):
        yield place, _type("object", given)
        return
    wrong = [name for name, value in given.items() if not isinstance(value, str)]
    for name in wrong:
        yield f"{place}.{name}", _type("string", given[name])
    if not wrong and sum(len(name.encode()) + len(value.encode()) for name, value in given.items()) > 10_000:
        yield place, "The combined size may not exceed 10,000 bytes."


def _categories(given: Any) -> Iterator[Problem]:
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        yield "categories", "Categories must be an array of strings."
    elif len(given) > 10:
        yield "categories", "There can be no more than 10 categories."
    elif len(set(given)) != len(given):
        yield "categories", "Categories must be unique."
    elif any(len(one) > 255 for one in given):
        yield "categories", "Each category may not exceed 255 characters."


def _moment(place: str, given: Any, now: float) -> Iterator[Problem]:
    if given is None:
        return
    if type(given) is not int:
        yield place, _type("integer", given)
    elif given > now + 72 * 3600:
        yield place, "Scheduling more than 72 hours in advance is forbidden."


def _attachments(given: Any) -> Iterator[Problem]:
    if given is None:
        return
    for number, one in enumerate(given if isinstance(given, list) else [given]):
        for name in ("content", "filename"):
            if not isinstance(one, dict) or not isinstance(one.get(name), str) or not one[name]:
                yield f"attachments.{number}.{name}", f"The attachment {name} is required."


def _tracking(given: Any) -> Iterator[Problem]:
    if not isinstance(given, dict):
        yield "tracking_settings", _type("object", given)
        return
    for kind, settings in given.items():
        known = _TRACKING.get(kind)
        if known is None or not isinstance(settings, dict):
            yield f"tracking_settings.{kind}", "additional property or wrong type is not allowed"
            continue
        for name, value in settings.items():
            if name not in known or type(value) is not known[name]:
                yield f"tracking_settings.{kind}.{name}", _type(_WORDS[known.get(name, str)], value)


def _is_address(given: Any) -> bool:
    return isinstance(given, str) and len(given) <= 320 and _ADDRESS.match(given) is not None


def _type(expected: str, found: Any) -> str:
    return f"Invalid type. Expected: {expected}, given: {_WORDS.get(type(found), 'null')}."
