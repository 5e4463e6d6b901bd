"""A provider over real HTTP that answers as a test tells it to, and remembers every request and connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from tidings.channels.base import Envelope
from tidings.channels.http import TimeLimits
from tidings.channels.sendgrid import SendGrid
from tidings.channels.twilio import Twilio
from tidings.model.people import Channel

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
ACCOUNT = "AC" + "0" * 32
QUICK = TimeLimits(connect=0.4, read=0.4)


@dataclass
class Scripted:
    """The next answers, the last of them for ever."""

    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(id(request.transport))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.requests.append((request.path, dict(request.headers), await request.read()))
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            return await reply(request)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def listening(*replies: Reply) -> AsyncIterator[Scripted]:
    scripted = Scripted(replies=list(replies))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scripted.port = runner.addresses[0][1]
    try:
        yield scripted
    finally:
        await runner.cleanup()


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, body=body, headers=named)

    return reply


async def silence(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def torn(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 20")
    await asyncio.sleep(0.01)
    request.transport.abort()
    return web.Response()


@dataclass(frozen=True)
class Contract:
    """What the shared suite must know of a provider: how to build it, and how it says yes and no."""

    name: str
    make: Callable[..., Any]
    envelope: Envelope
    taken: Reply
    taken_id: str
    taken_without_id: Reply

    def refused(self, code: int, **headers: str) -> Reply:
        body = (
            b'{"errors":[{"field":null,"message":"no: ann@example.com"}]}'
            if self.name == "sendgrid"
            else b'{"code":20001,"message":"no: +358 40 123 4567","status":%d}' % code
        )
        return status(code, body, **headers)


MAIL = Envelope(
    "0a" * 16, Channel.EMAIL, "ann@example.com", "shop@example.com", subject="Your cart is saved",
    html="<p>Hello</p>", text="Hello", sender_name="Fenmark", reply_to="care@example.com",
    headers={"List-Unsubscribe": "<https://u.example.com/u/token>"},
)  # fmt: skip
TEXT = Envelope(
    "0b" * 16, Channel.SMS, "+358401234567", "+15017122661", text="Fenmark: saved. Stop: STOP", validity_seconds=3600
)

CONTRACTS = [
    Contract(
        "sendgrid", lambda url, **more: SendGrid("SG.key", base_url=url, **{"limits": QUICK, **more}), MAIL,
        status(202, X_Message_Id="iVkHrZR-SmqbEzSs9q3jLA"), "iVkHrZR-SmqbEzSs9q3jLA", status(202),
    ),
    Contract(
        "twilio", lambda url, **more: Twilio(ACCOUNT, "token", base_url=url, **{"limits": QUICK, **more}), TEXT,
        status(201, b'{"sid":"SM' + b"1f" * 16 + b'","status":"queued"}'), "SM" + "1f" * 16, status(201, b"{}"),
    ),
]  # fmt: skip


@pytest.fixture(params=CONTRACTS, ids=[contract.name for contract in CONTRACTS])
def contract(request: pytest.FixtureRequest) -> Contract:
    """Each provider in turn."""
    found: Contract = request.param
    return found


@pytest.fixture
def contracts() -> dict[str, Contract]:
    """The providers by name."""
    return {one.name: one for one in CONTRACTS}


@pytest.fixture
def http() -> SimpleNamespace:
    """The scriptable server and its answers."""
    return SimpleNamespace(
        listening=listening, status=status, silence=silence, reset=reset, torn=torn, quick=QUICK, account=ACCOUNT
    )


@pytest.fixture
def mail() -> Envelope:
    return MAIL


@pytest.fixture
def text() -> Envelope:
    return TEXT
