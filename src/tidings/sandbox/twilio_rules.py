"""What Twilio's real `Messages` refuses, and the record it answers with: its own codes and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

_E164 = re.compile(r"^\+[1-9]\d{6,14}$")
_SENDER = re.compile(r"^(?:\+[1-9]\d{6,14}|\d{5,6}|(?=[A-Za-z0-9 ]*[A-Za-z])[A-Za-z0-9 ]{1,11})$")
_SERVICE = re.compile(r"^MG[0-9a-fA-F]{32}$")
_URL = re.compile(r"^https?://[^\s/?#_]+(?:[/?#]\S*)?$")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Twilio's error envelope."""

    code: int
    message: str
    status: int = 400

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


KNOWN = {
    20003: Refusal(20003, "Authenticate", 401),
    20404: Refusal(20404, "The requested resource was not found", 404),
    20429: Refusal(20429, "Too Many Requests", 429),
    20503: Refusal(20503, "Service Unavailable", 503),
    21211: Refusal(21211, "Invalid 'To' Phone Number"),
    21408: Refusal(21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21610: Refusal(21610, "Attempt to send to unsubscribed recipient"),
    21611: Refusal(21611, "This 'From' number has exceeded the maximum number of queued messages"),
    21614: Refusal(21614, "'To' number is not a valid mobile number"),
    21617: Refusal(21617, "The concatenated message body exceeds the 1600 character limit"),
    21635: Refusal(21635, "'To' number cannot be a landline"),
    21703: Refusal(21703, "The Messaging Service does not have a phone number available to send a message"),
}


def refusal(form: Mapping[str, str]) -> Refusal | None:
    """Return what Twilio would refuse this form for, or None."""
    to, sender, service = form.get("To", ""), form.get("From", ""), form.get("MessagingServiceSid", "")
    if not to:
        return Refusal(21604, "A 'To' phone number is required.")
    if not _E164.match(to):
        return KNOWN[21211]
    if not sender and not service:
        return Refusal(21603, "A 'From' phone number is required.")
    if service and not _SERVICE.match(service):
        return Refusal(21701, "The Messaging Service resource does not exist")
    if sender and not _SENDER.match(sender):
        return Refusal(21212, "Invalid 'From' Phone Number")
    if sender == to:
        return Refusal(21266, "'To' and 'From' number cannot be the same")
    return _words(form) or _options(form)


def _words(form: Mapping[str, str]) -> Refusal | None:
    body = form.get("Body", "")
    if not body and not form.get("MediaUrl") and not form.get("ContentSid"):
        return Refusal(21602, "Message body is required.")
    return KNOWN[21617] if len(body) > 1600 else None


def _options(form: Mapping[str, str]) -> Refusal | None:
    validity = form.get("ValidityPeriod")
    if validity is not None and not (validity.isdigit() and 1 <= int(validity) <= 36_000):
        return Refusal(20001, "ValidityPeriod must be a number of seconds from 1 to 36000")
    callback = form.get("StatusCallback")
    if callback is not None and not _URL.match(callback):
        return Refusal(21609, "The 'StatusCallback' URL is not a valid fully qualified URL")
    if form.get("SendAt"):
        if form.get("ScheduleType") != "fixed":
            return Refusal(35126, "ScheduleType must be 'fixed'")
        if not form.get("MessagingServiceSid"):
            return Refusal(35118, "MessagingServiceSid is required to schedule a message")
    return None


def record(sid: str, account: str, form: Mapping[str, str], at: datetime, segments: int) -> dict[str, Any]:
    """Return the Message resource of a text just accepted."""
    moment = format_datetime(at)
    service = form.get("MessagingServiceSid") or None
    base = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": form.get("Body", ""),
        "date_created": moment,
        "date_sent": None,
        "date_updated": moment,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": form.get("From") or None,
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": str(segments),
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "accepted" if service else "queued",
        "subresource_uris": {"media": f"{base}/Media.json"},
        "to": form["To"],
        "uri": f"{base}.json",
    }


def incoming(sid: str, account: str, form: Mapping[str, str], at: datetime) -> dict[str, Any]:
    """Return the Message resource of a text that somebody sent to us."""
    moment = format_datetime(at)
    told = record(sid, account, form, at, 1)
    return {**told, "direction": "inbound", "status": "received", "date_sent": moment, "messaging_service_sid": None}
