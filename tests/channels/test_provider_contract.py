"""What every provider keeps, over real HTTP: one id when taken, else exactly one of four refusals, no address told."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tidings.channels.rate import Pace
from tidings.errors import Halt, Reject, Retry, Unknown

REFUSALS = (Retry, Reject, Unknown, Halt)


async def outcome(sending: Awaitable[str]) -> str | Exception:
    """Return the id, or the refusal. Anything else breaks the test: providers raise nothing else."""
    try:
        return await sending
    except REFUSALS as refusal:
        return refusal


def offered(contract: Any, http: SimpleNamespace, *replies: Any, times: int = 1, **options: Any) -> list[Any]:
    """Offer the message so many times, one after the other, to a server with these answers."""

    async def run() -> list[Any]:
        async with http.listening(*replies) as server:
            provider = contract.make(server.url, **options)
            found = [await outcome(provider.send(contract.envelope)) for _ in range(times)]
            await provider.close()
            return found

    return asyncio.run(run())


def test_a_taken_message_returns_the_providers_id(contract: Any, http: SimpleNamespace) -> None:
    assert offered(contract, http, contract.taken) == [contract.taken_id]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Reject), (413, Reject), (401, Halt), (403, Halt), (404, Halt), (405, Halt), (429, Retry),
        (408, Unknown), (500, Unknown), (502, Unknown), (503, Unknown), (504, Unknown), (302, Unknown), (204, Unknown),
    ],
)  # fmt: skip
def test_every_status_is_one_refusal(contract: Any, http: SimpleNamespace, code: int, kind: type) -> None:
    (found,) = offered(contract, http, contract.refused(code) if code != 204 else http.status(204))

    assert type(found) is kind


def test_an_answer_that_says_yes_without_an_id_is_unknown(contract: Any, http: SimpleNamespace) -> None:
    assert type(offered(contract, http, contract.taken_without_id)[0]) is Unknown


def test_a_refusal_repeats_no_address(contract: Any, http: SimpleNamespace) -> None:
    (found,) = offered(contract, http, contract.refused(400))

    assert isinstance(found, Reject)
    assert not re.search(r"@|\d{5}", found.reason.replace("20001", ""))


@pytest.mark.parametrize("how", ["silence", "reset", "torn"])
def test_a_lost_answer_is_unknown(contract: Any, http: SimpleNamespace, how: str) -> None:
    assert type(offered(contract, http, getattr(http, how))[0]) is Unknown


def test_a_silent_provider_is_given_up_after_the_read_time_out(contract: Any, http: SimpleNamespace) -> None:
    begun = time.perf_counter()

    offered(contract, http, http.silence)

    assert time.perf_counter() - begun < 3


def test_a_refused_connection_certainly_took_nothing(contract: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        provider = contract.make(f"http://127.0.0.1:{closed.getsockname()[1]}")

    found = asyncio.run(outcome(provider.send(contract.envelope)))

    assert type(found) is Retry


def test_a_name_that_cannot_be_found_took_nothing(contract: Any) -> None:
    provider = contract.make("http://nowhere.invalid")

    assert type(asyncio.run(outcome(provider.send(contract.envelope)))) is Retry


def test_a_failed_tls_handshake_took_nothing(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> Any:
        async with http.listening(contract.taken) as server:
            provider = contract.make(server.url.replace("http:", "https:"))
            found = await outcome(provider.send(contract.envelope))
            await provider.close()
            return found

    assert type(asyncio.run(run())) is Retry


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "Sun, 22 Nov 2026 12:00:30 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"X_RateLimit_Reset": "1795348860", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 60.0),
        ({"Retry_After": "soon"}, None),
        ({}, None),
    ],
    ids=["seconds", "date", "reset", "nonsense", "nothing"],
)
def test_a_429_says_how_long_to_wait(
    contract: Any, http: SimpleNamespace, headers: dict[str, str], after: float | None
) -> None:
    (found,) = offered(contract, http, contract.refused(429, **headers))

    assert isinstance(found, Retry)
    assert found.after == after


def test_after_a_429_nobody_asks_again_before_its_time(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> tuple[Any, int]:
        async with http.listening(contract.refused(429, Retry_After="60"), contract.taken) as server:
            provider = contract.make(server.url)
            found = [await outcome(provider.send(contract.envelope)) for _ in range(3)]
            await provider.close()
            return found, len(server.requests)

    found, asked = asyncio.run(run())

    assert [type(one) for one in found] == [Retry, Retry, Retry]
    assert asked == 1


def test_one_connection_carries_many_messages(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> tuple[int, int]:
        async with http.listening(contract.taken) as server:
            provider = contract.make(server.url)
            for _ in range(20):
                await provider.send(contract.envelope)
            await provider.close()
            return len(server.requests), len(server.connections)

    assert asyncio.run(run()) == (20, 1)


def test_no_more_connections_are_opened_than_allowed(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> tuple[int, int, int]:
        async with http.listening(slowly(contract.taken)) as server:
            provider = contract.make(server.url, connections=4)
            await asyncio.gather(*(provider.send(contract.envelope) for _ in range(40)))
            await provider.close()
            return len(server.requests), server.most_at_once, len(server.connections)

    assert asyncio.run(run()) == (40, 4, 4)


def slowly(reply: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def later(request: Any) -> Any:
        await asyncio.sleep(0.01)
        return await reply(request)

    return later


def test_the_rate_is_kept(contract: Any, http: SimpleNamespace) -> None:
    begun = time.perf_counter()

    offered(contract, http, contract.taken, times=5, pace=Pace(10.0))

    assert time.perf_counter() - begun > 0.35


def test_a_turn_too_far_off_goes_back_unsent(contract: Any, http: SimpleNamespace) -> None:
    found = offered(contract, http, contract.taken, times=2, pace=Pace(0.1, patience=1.0))

    assert found[0] == contract.taken_id
    assert isinstance(found[1], Retry)
    assert found[1].after == pytest.approx(10, abs=0.5)


def test_a_cancelled_message_leaves_the_provider_usable(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> Any:
        async with http.listening(http.silence, contract.taken) as server:
            provider = contract.make(server.url, connections=1)
            going = asyncio.create_task(provider.send(contract.envelope))
            await asyncio.sleep(0.1)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            found = await provider.send(contract.envelope)
            await provider.close()
            return found

    assert asyncio.run(run()) == contract.taken_id


def test_a_closed_provider_opens_again(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> Any:
        async with http.listening(contract.taken) as server:
            provider = contract.make(server.url)
            await provider.close()
            await provider.close()
            found = await provider.send(contract.envelope)
            await provider.close()
            return found

    assert asyncio.run(run()) == contract.taken_id


def test_only_our_message_id_and_what_is_needed_leave(contract: Any, http: SimpleNamespace) -> None:
    async def run() -> list[Any]:
        async with http.listening(contract.taken) as server:
            provider = contract.make(server.url)
            await provider.send(contract.envelope)
            await provider.close()
            return list(server.requests)

    ((_, headers, body),) = asyncio.run(run())

    assert body.count(b"ann") + body.count(b"358401234567") == 1
    assert headers["User-Agent"].startswith(("tidings", "twilio-python"))
