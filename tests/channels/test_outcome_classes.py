"""Every answer a provider can give is one of five classes: taken, retry, reject, unknown, halt; none is guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tidings.jobs.sending import Ready, offer
from tidings.ledger.dispatching import Intent, Outcome
from tidings.ledger.transitions import TRANSITIONS
from tidings.model.message import Status

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def offered(contract: Any, http: SimpleNamespace, reply: Callable[[Any], Awaitable[Any]]) -> Outcome:
    """Return what a lane makes of the answer."""

    async def run() -> Outcome:
        async with http.listening(reply) as server:
            provider = contract.make(server.url)
            envelope = contract.envelope
            intent = Intent(envelope.message_id, "ann", "h", envelope.channel)
            found = await offer(provider, Ready(intent, envelope, "cart", 0, NOW), "t", NOW)
            await provider.close()
            return found

    return asyncio.run(run())


BY_STATUS = {
    400: "failed", 402: "halt", 401: "halt", 403: "halt", 404: "halt", 405: "halt", 408: "unknown", 413: "failed",
    415: "failed", 422: "failed", 429: "wait", 500: "unknown", 502: "unknown", 503: "unknown", 504: "unknown",
    301: "unknown", 206: "unknown",
}  # fmt: skip


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_is_one_class(contract: Any, http: SimpleNamespace, status: int) -> None:
    assert offered(contract, http, contract.refused(status)).kind == BY_STATUS[status]


GARBAGE = {
    "a page": b"<html>It works!", "half an answer": b'{"sid": "SM', "nothing": b"", "another shape": b"[1, 2]",
    "no id": b'{"sid": null}', "a number": b'{"sid": 7}', "an empty id": b'{"sid": ""}', "not text": b"\xff\xfe\x00",
}  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_a_yes_that_cannot_be_read_is_unknown(contract: Any, http: SimpleNamespace, body: bytes) -> None:
    said = http.status(202 if contract.name == "sendgrid" else 201, body)

    assert offered(contract, http, said).kind == "unknown"


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize(("status", "kind"), [(400, "failed"), (401, "halt"), (429, "wait"), (503, "unknown")])
def test_a_refusal_that_cannot_be_read_keeps_its_class(
    contract: Any, http: SimpleNamespace, status: int, kind: str, body: bytes
) -> None:
    assert offered(contract, http, http.status(status, body)).kind == kind


@pytest.mark.parametrize("how", ["silence", "reset", "torn"])
def test_an_answer_lost_after_the_request_left_is_unknown(contract: Any, http: SimpleNamespace, how: str) -> None:
    assert offered(contract, http, getattr(http, how)).kind == "unknown"


def test_a_server_that_never_finishes_the_handshake_took_nothing(contract: Any) -> None:
    async def run() -> Outcome:
        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(2)
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        provider = contract.make(f"https://127.0.0.1:{port}")
        intent = Intent(contract.envelope.message_id, "ann", "h", contract.envelope.channel)
        found = await offer(provider, Ready(intent, contract.envelope, "cart", 0, NOW), "t", NOW)
        await provider.close()
        server.close()
        return found

    assert asyncio.run(run()).kind == "retry"


TWILIO = {
    # code: (HTTP status, class, why the number must not be used again)
    20003: (401, "halt", None), 20404: (404, "halt", None), 20429: (429, "wait", None), 20500: (500, "unknown", None),
    20503: (503, "unknown", None), 21211: (400, "failed", "bad_number"), 21214: (400, "failed", "bad_number"),
    21408: (400, "failed", None), 21606: (400, "halt", None), 21610: (400, "failed", "stop"),
    21611: (400, "wait", None), 21614: (400, "failed", "bad_number"), 21617: (400, "failed", None),
    21635: (400, "failed", "bad_number"), 21701: (404, "halt", None), 21703: (400, "halt", None),
    30001: (400, "wait", None), 99999: (400, "failed", None),
}  # fmt: skip


@pytest.mark.parametrize("code", TWILIO)
def test_twilios_codes_say_more_than_their_status(http: SimpleNamespace, contracts: dict[str, Any], code: int) -> None:
    status, kind, suppress = TWILIO[code]
    said = http.status(status, b'{"code": %d, "message": "no: +358 40 123 4567", "status": %d}' % (code, status))

    found = offered(contracts["twilio"], http, said)

    assert (found.kind, found.suppress) == (kind, suppress)
    assert "4567" not in f"{found.reason} {found.detail}"


def test_only_a_certain_refusal_is_offered_again() -> None:
    """The classes become transitions: `unknown` has no way back but proof, the quarantine, or at-least-once."""
    back = {one.name for one in TRANSITIONS if one.before is Status.UNKNOWN and not one.at_least_once}

    assert back == {"proof", "presume_lost"}


def test_a_provider_that_breaks_in_its_own_code_leaves_the_message_in_doubt(contract: Any) -> None:
    class Broken:
        name, channel = "broken", contract.envelope.channel

        async def send(self, _: Any) -> str:
            raise KeyError("bug")

        async def close(self) -> None: ...

    intent = Intent(contract.envelope.message_id, "ann", "h", contract.envelope.channel)

    found = asyncio.run(offer(Broken(), Ready(intent, contract.envelope, "cart", 0, NOW), "t", NOW))

    assert (found.kind, found.detail) == ("unknown", "KeyError")
