"""The two providers' own endpoints: checked as strictly as the real ones, kept, and answered, or not when told so."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from tidings.content.sms import segments
from tidings.sandbox import remembered, sendgrid_rules, twilio_rules
from tidings.sandbox.acts import Recipients
from tidings.sandbox.faults import BEFORE_ACCEPT, Fault, Faults
from tidings.sandbox.remembered import Texts, Wrong
from tidings.sandbox.store import Accepted, Store

_JSON = "application/json"
# A request that is never answered ends when its caller goes, or with the sandbox.
_FOREVER = 3600.0
_UNAUTHORIZED = "The provided authorization grant is invalid, expired, or revoked"
_TOO_LARGE = "The JSON payload you have included in your request is too large."


@dataclass(slots=True)
class Accounts:
    """Who may send. An empty ``api_key`` takes any key that looks like one; ``email_activity`` is a paid add-on."""

    account_sid: str
    auth_token: str
    api_key: str = ""
    email_activity: bool = False


class Providers:
    """Handlers of `/v3/...` and `/2010-04-01/...`."""

    def __init__(
        self,
        store: Store,
        faults: Faults,
        recipients: Recipients,
        accounts: Accounts,
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        self.faults = faults
        self.recipients = recipients
        self.accounts = accounts
        self.texts = Texts(store, recipients)
        self.refused = 0
        self.accepted_since: list[Accepted] = []
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        messages = "/2010-04-01/Accounts/{account}/Messages"
        return [
            web.post("/v3/mail/send", self.mail_send),
            web.get("/v3/suppression/{kind}", self.suppression),
            web.get("/v3/messages", self.activity),
            web.delete("/v3/suppression/{kind}/{email}", self.unsuppress),
            web.post(messages + ".json", self.create_message),
            web.get(messages + ".json", self.list_messages),
            web.get(messages + "/{sid}.json", self.fetch_message),
            web.delete(messages + "/{sid}.json", self.delete_message),
            web.post("/v3/recipients/erasejob", self.erase_recipients),
        ]

    async def mail_send(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.next("sendgrid")
        early = await self._early(request, fault)
        if early is not None:
            return early
        if not self._known_key(request):
            return self._sendgrid_error(401, [(None, _UNAUTHORIZED)])
        if request.content_type != _JSON:
            return self._sendgrid_error(415, [(None, "Content-Type should be application/json.")])
        try:
            raw = await request.read()
            body = orjson.loads(raw)
        except web.HTTPRequestEntityTooLarge:
            return self._sendgrid_error(413, [(None, _TOO_LARGE)])
        except ValueError:
            return self._sendgrid_error(400, [(None, "Bad Request")])
        wrong = sendgrid_rules.problems(body, time.time())
        if wrong:
            return self._sendgrid_error(400, wrong)
        kept = self._keep_mails(body)
        return await self._late(
            request, fault, web.Response(status=202, headers={"X-Message-Id": kept[0].id, "Content-Length": "0"})
        )

    async def create_message(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.next("twilio")
        early = await self._early(request, fault)
        if early is not None:
            return early
        refused = self._wrong_account(request)
        form = dict(parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True))
        refused = refused or twilio_rules.refusal(form)
        if refused is None and self._opted_out(form):
            refused = twilio_rules.KNOWN[21610]
        if refused is not None:
            return self._twilio_error(refused)
        document = self._keep_text(request.match_info["account"], form)
        answer = web.Response(status=201, body=orjson.dumps(document), content_type=_JSON)
        return await self._late(request, fault, answer)

    async def list_messages(self, request: web.Request) -> web.Response:
        refused = self._wrong_account(request)
        if refused is not None:
            return self._twilio_error(refused)
        try:
            page = self.texts.page(request.path, request.query)
        except Wrong as wrong:
            return self._twilio_error(twilio_rules.Refusal(20001, wrong.message))
        return web.Response(body=orjson.dumps(page), content_type=_JSON)

    async def fetch_message(self, request: web.Request) -> web.Response:
        refused = self._wrong_account(request)
        found = self.store.find(request.match_info["sid"])
        if refused is not None or found is None or found.provider != "twilio":
            return self._twilio_error(refused or twilio_rules.KNOWN[20404])
        return web.Response(body=orjson.dumps(self.texts.document(found)), content_type=_JSON)

    async def delete_message(self, request: web.Request) -> web.Response:
        refused = self._wrong_account(request)
        found = self.store.find(request.match_info["sid"])
        if refused is not None or found is None or found.provider != "twilio" or not found.to:
            return self._twilio_error(refused or twilio_rules.KNOWN[20404])
        self.store.forget(found)
        return web.Response(status=204)

    async def erase_recipients(self, request: web.Request) -> web.Response:
        if not self._known_key(request):
            return self._sendgrid_error(401, [(None, _UNAUTHORIZED)])
        try:
            wanted = {str(one).lower() for one in orjson.loads(await request.read())["email_addresses"]}
        except (ValueError, LookupError, TypeError):
            return self._sendgrid_error(400, [("email_addresses", "email_addresses must be a list of addresses")])
        for message in self.store.messages:
            if message.provider == "sendgrid" and message.to.lower() in wanted:
                self.store.forget(message)
        return web.Response(status=202, body=orjson.dumps({"job_id": secrets.token_hex(16)}), content_type=_JSON)

    async def suppression(self, request: web.Request) -> web.Response:
        if not self._known_key(request):
            return self._sendgrid_error(401, [(None, "authorization required")])
        try:
            rows = remembered.suppressions(self.recipients, request.match_info["kind"], request.query)
        except Wrong as wrong:
            return self._sendgrid_error(400, [wrong.problem])
        if rows is None:
            return self._sendgrid_error(404, [(None, "Not Found")])
        return web.Response(body=orjson.dumps(rows), content_type=_JSON)

    async def activity(self, request: web.Request) -> web.Response:
        """Answer Email Activity, where the account has bought it."""
        if not self._known_key(request):
            return self._sendgrid_error(401, [(None, "authorization required")])
        if not self.accounts.email_activity:
            return self._sendgrid_error(403, [(None, "access forbidden")])
        try:
            found = remembered.activity(self.store, request.query)
        except Wrong as wrong:
            return self._sendgrid_error(400, [wrong.problem])
        return web.Response(body=orjson.dumps(found), content_type=_JSON)

    async def unsuppress(self, request: web.Request) -> web.Response:
        if not self._known_key(request):
            return self._sendgrid_error(401, [(None, "authorization required")])
        listed = self.recipients.suppressed.get(request.match_info["kind"], {})
        gone = listed.pop(request.match_info["email"].lower(), None)
        return web.Response(status=404 if gone is None else 204)

    def _keep_mails(self, body: dict[str, Any]) -> list[Accepted]:
        identity = secrets.token_urlsafe(16)
        content = {block["type"]: block["value"] for block in body.get("content", ())}
        sender = body["from"]
        kept = []
        for one in body["personalizations"]:
            subject = one.get("subject", body.get("subject", ""))
            args = {**body.get("custom_args", {}), **one.get("custom_args", {})}
            words = {
                "subject": subject, "html": content.get("text/html"), "text": content.get("text/plain", ""),
                "headers": {**body.get("headers", {}), **one.get("headers", {})}, "from_name": sender.get("name"),
                "reply_to": (body.get("reply_to") or {}).get("email"), "custom_args": args,
            }  # fmt: skip
            for person in one["to"]:
                facts = {"provider": "sendgrid", "id": identity, "message": args.get("d", ""), "to": person["email"],
                         "sender": sender["email"], "title": subject, "at": self._clock(),
                         "arrived": time.time()}  # fmt: skip
                kept.append(self.store.add(facts, words))
        self.accepted_since += kept
        return kept

    def _keep_text(self, account: str, form: dict[str, str]) -> dict[str, Any]:
        sid, at = "SM" + secrets.token_hex(16), self._clock()
        count = segments(form.get("Body", "")).count
        document = twilio_rules.record(sid, account, form, datetime.fromtimestamp(at, UTC), count)
        callback = form.get("StatusCallback")
        ours = _ours(callback or "")
        facts = {"provider": "twilio", "id": sid, "message": ours, "to": form["To"],
                 "sender": form.get("MessagingServiceSid") or form["From"], "title": form.get("Body", "")[:120],
                 "at": at, "arrived": time.time(), "callback": callback, "segments": count}  # fmt: skip
        words = {"text": form.get("Body", ""), "headers": {}, "document": document}
        self.accepted_since.append(self.store.add(facts, words))
        return document

    def _opted_out(self, form: dict[str, str]) -> bool:
        sender = form.get("MessagingServiceSid") or form.get("From", "")
        return (form.get("To", ""), sender) in self.recipients.opted_out

    def _known_key(self, request: web.Request) -> bool:
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        return kind == "Bearer" and (key == self.accounts.api_key if self.accounts.api_key else len(key) > 2)

    def _wrong_account(self, request: web.Request) -> twilio_rules.Refusal | None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            login, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            login, secret = "", ""
        known = kind == "Basic" and secret == self.accounts.auth_token
        if not known or not (login == self.accounts.account_sid or login.startswith("SK")):
            return twilio_rules.KNOWN[20003]
        return None if request.match_info["account"] == self.accounts.account_sid else twilio_rules.KNOWN[20404]

    def _sendgrid_error(self, status: int, wrong: list[sendgrid_rules.Problem]) -> web.Response:
        self.refused += 1
        errors = [{"message": message, "field": field, "help": None} for field, message in wrong]
        return web.Response(status=status, body=orjson.dumps({"errors": errors}), content_type=_JSON)

    def _twilio_error(self, refused: twilio_rules.Refusal) -> web.Response:
        self.refused += 1
        return web.Response(status=refused.status, body=orjson.dumps(refused.document()), content_type=_JSON)

    async def _early(self, request: web.Request, fault: Fault | None) -> web.StreamResponse | None:
        """Return the answer of a fault that accepts nothing."""
        if fault is None or fault.kind not in BEFORE_ACCEPT:
            return None
        await request.read()
        if fault.kind == "timeout":
            await asyncio.sleep(_FOREVER)
        if fault.kind == "drop":
            return _cut(request)
        self.refused += 1
        twilio = request.path.startswith("/2010-04-01/")
        if twilio and fault.kind in ("code", "429", "401", "404", "503"):
            code = {"code": fault.code, "429": 20429, "401": 20003, "404": 20404, "503": 20503}[fault.kind]
            refused = twilio_rules.KNOWN.get(int(code), twilio_rules.Refusal(int(code), "Refused"))
            body, status = refused.document(), refused.status
        else:
            status = 400 if fault.kind == "code" else int(fault.kind)
            words = {429: "too many requests", 500: "internal server error"}.get(status, "refused by the sandbox")
            body = {"errors": [{"field": None, "message": words, "help": None}]}
        headers = {}
        if status == 429 and fault.retry_after is not None:
            headers["Retry-After"] = f"{fault.retry_after:.0f}"
            if not twilio:
                headers = {"X-RateLimit-Limit": "150", "X-RateLimit-Remaining": "0",
                           "X-RateLimit-Reset": str(int(time.time() + fault.retry_after))}  # fmt: skip
        return web.Response(status=status, body=orjson.dumps(body), content_type=_JSON, headers=headers)

    async def _late(self, request: web.Request, fault: Fault | None, answer: web.StreamResponse) -> web.StreamResponse:
        """Return the answer, or what a fault makes of it after the message was kept."""
        match None if fault is None else fault.kind:
            case "drop_after_accept":
                return _cut(request)
            case "half_after_accept":
                assert request.transport is not None
                request.transport.write(b"HTTP/1.1 202 Acc")
                await asyncio.sleep(0.02)
                return _cut(request)
            case "timeout_after_accept":
                await asyncio.sleep(_FOREVER)
            case "garbage":
                return web.Response(status=answer.status, body=b"<html>It works!", content_type="text/html")
            case "slow":
                assert fault is not None
                await asyncio.sleep(fault.seconds)
            case _:
                pass
        return answer


def _ours(callback: str) -> str:
    """Return our message id from a status callback's address: as it is, or out of the signed token around it."""
    told = dict(parse_qsl(callback.partition("?")[2])).get("d", "")
    if len(told) < 40:
        return told
    try:
        said = base64.urlsafe_b64decode(told[1:] + "=" * (-len(told[1:]) % 4))[:-16]
    except ValueError:
        return told
    packed = said[1:]
    if len(packed) == 16:
        return packed.hex()
    return base64.urlsafe_b64encode(packed).decode() if len(packed) == 12 else packed.decode("ascii", "replace")


def _cut(request: web.Request) -> web.Response:
    """Reset the connection without another word."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)
