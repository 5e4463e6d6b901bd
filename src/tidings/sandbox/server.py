"""The sandbox itself: one process, one port, this machine only; both providers, their webhooks, and an inbox."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import orjson
from aiohttp import web

from tidings.content.sms import segments
from tidings.sandbox.acts import ACTIONS, Act, Posted, Recipients, links
from tidings.sandbox.api import Accounts, Providers
from tidings.sandbox.faults import Fault, Faults
from tidings.sandbox.sendgrid_rules import LARGEST_BODY
from tidings.sandbox.signing import Signer
from tidings.sandbox.store import Accepted, Store

HOST = "127.0.0.1"
ACCOUNT_SID = "AC" + "5a" * 16
AUTH_TOKEN = "sandbox"
T = TypeVar("T")
_FILES = {"inbox.html": "text/html", "inbox.css": "text/css", "inbox.js": "text/javascript"}
# The page around a message runs only its own script; a message's frame runs none.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src {images}; font-src data:; sandbox allow-popups "
    "allow-popups-to-escape-sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Sandbox:
    """Stand-ins for SendGrid and Twilio with their own thread and event loop.

    ``public_url`` is where `tidings web` listens: webhooks go there. ``folder`` keeps what was accepted
    (`accepted.jsonl`); without one it is forgotten at the end. ``deliver`` reports every accepted message as delivered
    within a second, as a live demo wants it. ``signing_key`` is a PEM private key; made anew when left out.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int = 0,
        public_url: str | None = None,
        deliver: bool = False,
        accounts: Accounts | None = None,
        signing_key: str | None = None,
        seed: int = 0,
    ) -> None:
        self.port = port
        self.accounts = accounts or Accounts(ACCOUNT_SID, AUTH_TOKEN)
        self.faults = Faults(seed)
        self.signer = Signer(self.accounts.auth_token, signing_key)
        self._folder = folder
        self._deliver = deliver
        self._at: float | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.store = Store(folder)
        self.recipients = Recipients(
            self.store, self.signer, account=self.accounts.account_sid, clock=self.clock,
            events_url=None, inbound_url=None,
        )  # fmt: skip
        self.providers = Providers(self.store, self.faults, self.recipients, self.accounts, self.clock)
        self.point_at(public_url)

    @property
    def url(self) -> str:
        """The base address, for ``base_url`` of both providers and for the inbox."""
        return f"http://{HOST}:{self.port}"

    @property
    def public_key(self) -> str:
        """SendGrid's webhook verification key, as its settings page would show it."""
        return self.signer.public_key

    def point_at(self, public_url: str | None) -> None:
        """Post webhooks to the public web service at this address, or nowhere."""
        base = None if public_url is None else public_url.rstrip("/")
        self.recipients.events_url = base and f"{base}/webhooks/sendgrid"
        self.recipients.inbound_url = base and f"{base}/webhooks/twilio/inbound"

    def clock(self) -> float:
        """Return sandbox time in epoch seconds: the simulated moment when one is set."""
        return time.time() if self._at is None else self._at

    def set_clock(self, at: datetime | None) -> None:
        """Stand still at a simulated moment, or follow real time again (None)."""
        self._at = None if at is None else at.timestamp()

    def start(self) -> Sandbox:
        """Listen in a thread of its own; returns when requests are taken. Raises OSError when the port is taken."""
        started: list[BaseException | None] = []
        ready = threading.Event()

        def run() -> None:
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready, started))

        self._thread = threading.Thread(target=run, name="sandbox", daemon=True)
        self._thread.start()
        ready.wait()
        if started and started[0] is not None:
            self._thread.join()
            raise started[0]
        return self

    def stop(self) -> None:
        """Stop listening and close the files."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
        self.store.close()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def act(self, acts: Sequence[Act]) -> Posted:
        """Let recipients act, thousands at once; returns when every webhook was answered."""
        return self._in_loop(self.recipients.perform(acts))

    def reset(self) -> None:
        """Forget messages, faults, opt-outs and the simulated clock."""
        self._in_loop(self._reset())

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "the sandbox is not running"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _reset(self) -> None:
        self.store.reset()
        self.faults.clear()
        self.recipients.opted_out.clear()
        self.recipients.inbound.clear()
        self.recipients.errors.clear()
        for listed in self.recipients.suppressed.values():
            listed.clear()
        self.providers.accepted_since.clear()
        self.providers.refused = 0
        self._at = None

    async def _serve(self, ready: threading.Event, started: list[BaseException | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=0.2)
        try:
            await runner.setup()
            site = web.TCPSite(runner, HOST, self.port, backlog=1024)
            await site.start()
            self.port = runner.addresses[0][1]
            started.append(None)
        except OSError as taken:
            started.append(taken)
            await runner.cleanup()
            return
        finally:
            ready.set()
        delivering = asyncio.create_task(self._deliveries())
        await self._stopping.wait()
        delivering.cancel()
        await self.recipients.close()
        await runner.cleanup()

    async def _deliveries(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            fresh, self.providers.accepted_since = self.providers.accepted_since, []
            if self._deliver and fresh and self.recipients.events_url is not None:
                steps = [Act(one.id, action) for one in fresh for action in ("accept", "deliver")]
                await self.recipients.perform(steps)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes(self.providers.routes())
        app.add_routes([
            web.get("/", self._file),
            web.get("/inbox/{name}", self._file),
            web.get("/sandbox/messages", self._list),
            web.get("/sandbox/messages/{no}", self._one),
            web.get("/sandbox/messages/{no}/html", self._mail),
            web.get("/sandbox/accepted.json", self._accepted),
            web.get("/sandbox/accepted", self._accepted),
            web.get("/sandbox/keys", self._keys),
            web.get("/healthz", self._keys),
            web.post("/sandbox/faults", self._told(self._set_faults)),
            web.delete("/sandbox/faults", self._told(self._clear_faults)),
            web.post("/sandbox/clock", self._told(self._set_clock)),
            web.post("/sandbox/act", self._told(self._act)),
            web.post("/sandbox/reset", self._told(self._forget)),
        ])  # fmt: skip
        return app

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "inbox.html")
        if name not in _FILES:
            raise web.HTTPNotFound
        text = resources.files("tidings.sandbox").joinpath("pages", name).read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"}
        return web.Response(text=text, content_type=_FILES[name], headers=headers)

    async def _list(self, request: web.Request) -> web.Response:
        search, before = request.query.get("q", ""), request.query.get("before", "")
        found = self.store.newest(
            search[:200], provider=request.query.get("provider", ""), limit=60,
            before=int(before) if before.isdigit() else None,
        )  # fmt: skip
        return _json({"total": len(self.store.messages), "messages": [one.line() for one in found]})

    async def _one(self, request: web.Request) -> web.Response:
        message = self._message(request)
        words = self.store.words(message)
        words.pop("document", None)
        words["has_html"] = bool(words.pop("html", None))
        if message.provider == "twilio":
            counted = segments(words["text"])
            words |= {"encoding": counted.encoding, "units": counted.units}
            thread = [one for one in self.store.messages if (one.to, one.provider) == (message.to, "twilio")]
            words["thread"] = [{**one.line(), "text": self.store.words(one)["text"]} for one in thread[-30:]]
        return _json({**message.line(), "words": words, "links": links(self.store.words(message))})

    async def _mail(self, request: web.Request) -> web.Response:
        html = self.store.words(self._message(request)).get("html") or ""
        # A frame cannot be told another colour scheme than the browser's, so its questions are answered here.
        dark = request.query.get("scheme") == "dark"
        html = html.replace("(prefers-color-scheme: dark)", "all" if dark else "not all")
        html = html.replace("(prefers-color-scheme:dark)", "all" if dark else "not all")
        images = "'none'" if request.query.get("images") == "off" else "https: http: data:"
        headers = {"Content-Security-Policy": _MAIL_POLICY.format(images=images), "Cache-Control": "no-store"}
        return web.Response(text=html, content_type="text/html", headers=headers)

    def _message(self, request: web.Request) -> Accepted:
        no = request.match_info["no"]
        if not no.isdigit() or not 0 < int(no) <= len(self.store.messages):
            raise web.HTTPNotFound
        return self.store.messages[int(no) - 1]

    async def _accepted(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        messages = self.store.messages[int(after) if after.isdigit() else 0 :]
        return _json({
            "total": len(self.store.messages),
            "refused": self.providers.refused,
            "providers": dict(self.store.by_provider),
            "repeated": {name: self.store.by_message[name] for name in self.store.repeated},
            "messages": [one.line() for one in messages],
        })  # fmt: skip

    async def _keys(self, _: web.Request) -> web.Response:
        return _json({"sendgrid_public_key": self.public_key, "account_sid": self.accounts.account_sid})

    async def _set_faults(self, given: Any) -> dict[str, Any]:
        for one in given if isinstance(given, list) else [given]:
            self.faults.add(Fault.read(one))
        return {"ok": True}

    async def _clear_faults(self, _: Any) -> dict[str, Any]:
        self.faults.clear()
        return {"ok": True}

    async def _set_clock(self, given: Any) -> dict[str, Any]:
        at = given.get("at")
        self.set_clock(None if at is None else _instant(at))
        return {"at": datetime.fromtimestamp(self.clock(), UTC).isoformat()}

    async def _act(self, given: Any) -> dict[str, Any]:
        acts = [_act(one) for one in (given if isinstance(given, list) else [given])]
        posted = await self.recipients.perform(acts)
        return {"acts": posted.acts, "requests": posted.requests, "failed": posted.failed}

    async def _forget(self, _: Any) -> dict[str, Any]:
        await self._reset()
        return {"ok": True}

    @staticmethod
    def _told(
        obey: Callable[[Any], Awaitable[dict[str, Any]]],
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                raw = await request.read()
                return _json(await obey(orjson.loads(raw) if raw.strip() else {}))
            except (ValueError, TypeError, AttributeError) as wrong:
                return web.json_response({"error": str(wrong)}, status=400)

        return answer


def _act(given: Mapping[str, Any]) -> Act:
    action = str(given.get("action"))
    if action not in ACTIONS:
        raise ValueError(f'action: must be one of {", ".join(ACTIONS)}; found "{action}"')
    at, link = given.get("at"), given.get("link")
    return Act(
        message=str(given.get("message")),
        action=action,
        at=None if at is None else _instant(at),
        link=None if link is None else int(link),
        text=str(given.get("text", "")),
    )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f'at: must carry an offset such as "2026-03-02T09:00:00+00:00"; found "{text}"')
    return at


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
