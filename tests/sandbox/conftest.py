"""A running sandbox and the two providers pointed at it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tidings.channels.base import Envelope
from tidings.channels.http import TimeLimits
from tidings.channels.sendgrid import SendGrid
from tidings.channels.twilio import Twilio
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.model.people import Channel
from tidings.sandbox.server import ACCOUNT_SID, AUTH_TOKEN, Sandbox


class Sending:
    """Sends through the real providers and says how it went."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.callback = "http://127.0.0.1:9/webhooks/twilio/status"

    def __call__(self, *envelopes: Envelope, **options: Any) -> list[Any]:
        return asyncio.run(self._all(envelopes, options))

    async def _all(self, envelopes: tuple[Envelope, ...], options: dict[str, Any]) -> list[Any]:
        options = {"limits": TimeLimits(1.0, 1.0), "base_url": self.url, **options}
        mail = SendGrid("SG.key", **options)
        text = Twilio(ACCOUNT_SID, AUTH_TOKEN, callback=lambda one: f"{self.callback}?d={one}", **options)
        found: list[Any] = []
        for envelope in envelopes:
            try:
                found.append(await (mail if envelope.channel is Channel.EMAIL else text).send(envelope))
            except (Retry, Reject, Unknown, Halt) as refusal:
                found.append(refusal)
        await mail.close()
        await text.close()
        return found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def send(sandbox: Sandbox) -> Sending:
    return Sending(sandbox.url)


@pytest.fixture
def mail() -> Callable[..., Envelope]:
    def make(no: int = 0, **more: Any) -> Envelope:
        given: dict[str, Any] = {
            "message_id": f"{no:032x}", "channel": Channel.EMAIL, "to": f"ann{no}@example.com",
            "sender": "shop@example.com", "subject": "Your cart is saved", "html": "<p>Hello</p>", "text": "Hello",
            **more,
        }  # fmt: skip
        return Envelope(**given)

    return make


@pytest.fixture
def text() -> Callable[..., Envelope]:
    def make(no: int = 0, **more: Any) -> Envelope:
        given: dict[str, Any] = {
            "message_id": f"{no:032x}", "channel": Channel.SMS, "to": f"+35840123{no:04d}", "sender": "+15550001111",
            "text": "Fenmark: saved. Reply STOP to end", **more,
        }  # fmt: skip
        return Envelope(**given)

    return make


def _ask(sandbox: Sandbox, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(sandbox.url + path, raw, {"Content-Type": "application/json", **named})) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read()


@pytest.fixture
def ask(sandbox: Sandbox) -> Callable[..., tuple[int, dict[str, str], bytes]]:
    """Ask the sandbox something; a body makes it a POST."""
    return lambda path, body=None, **headers: _ask(sandbox, path, body, **headers)


class Listener:
    """Stands where `tidings web` would: keeps every request. ``hangs_up`` on so many before it answers any."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.hangs_up = 0
        kept, here = self.got, self

        class Handler(BaseHTTPRequestHandler):
            def _keep(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if here.hangs_up:
                    here.hangs_up -= 1
                    self.close_connection = True
                    return
                kept.append((self.command, self.path, dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            do_GET = do_POST = do_HEAD = _keep

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()


@pytest.fixture
def listener(sandbox: Sandbox, send: Sending) -> Iterator[Listener]:
    listening = Listener()
    sandbox.point_at(listening.url)
    send.callback = f"{listening.url}/webhooks/twilio/status"
    yield listening
    listening.server.shutdown()
    listening.server.server_close()
