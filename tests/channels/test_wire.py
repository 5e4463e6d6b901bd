"""One connection: an answer is whole however it is cut, and what may have been taken is never called unsent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.channels.http import Answer, Pool, TimeLimits
from tidings.channels.wire import ANSWER_LIMIT, Place, Wire
from tidings.errors import Retry, Unknown

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMITS = TimeLimits(connect=1.0, read=0.3)
TAKEN = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: m1\r\nContent-Length: 2\r\n\r\nok"


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


def told(serve: Serve, times: int = 1, pause: float = 0.0) -> list[Answer | Exception]:
    """Return what so many posts over one pool come to."""

    async def run() -> list[Answer | Exception]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base", connections=1, limits=LIMITS)
        found: list[Answer | Exception] = []
        for _ in range(times):
            await asyncio.sleep(pause)
            try:
                found.append(await pool.post("/send", b"{}", {"Authorization": "Bearer x"}))
            except (Retry, Unknown) as refusal:
                found.append(refusal)
        await pool.close()
        server.close()
        return found

    return asyncio.run(run())


def saying(*parts: bytes, then_close: bool = False) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await request_of(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if then_close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, len(TAKEN) - 1), max_size=6))
def test_an_answer_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    at = [0, *sorted(set(cuts)), len(TAKEN)]

    (found,) = told(saying(*(TAKEN[a:b] for a, b in itertools.pairwise(at))))

    assert isinstance(found, Answer)
    assert (found.status, found.headers["x-message-id"], found.body) == (202, "m1", b"ok")


@pytest.mark.parametrize(
    ("answer", "close", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + TAKEN, False, b"ok"),
        (b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False, b"ok"),
        (b"HTTP/1.0 202 A\r\n\r\nuntil the end", True, b"until the end"),
        (b"HTTP/1.1 202 A\r\nContent-Length: 10\r\n\r\nhalf", True, b""),
        (b"HTTP/1.1 202 A\r\nContent-Length: 10\r\n\r\nhalf", False, b""),
        (b"HTTP/1.1 202 A\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99_999, False, b"x" * ANSWER_LIMIT),
        (b"HTTP/1.1 204 A\r\n\r\n", False, b""),
    ],
    ids=["continue", "chunked", "until the end", "torn", "stalled", "too long", "empty"],
)
def test_every_way_to_end_an_answer_is_understood(answer: bytes, close: bool, body: bytes) -> None:
    found = told(saying(answer, then_close=close), times=2)

    assert [(one.status // 100, one.body) for one in found if isinstance(one, Answer)] == [(2, body), (2, body)]


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 2", b"hello\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["none", "cut", "odd", "1xx"],
)
@pytest.mark.parametrize("close", [True, False], ids=["closed", "silent"])
def test_a_request_without_an_answer_may_have_been_taken(answer: bytes, close: bool) -> None:
    began = time.perf_counter()

    (found,) = told(saying(answer, then_close=close))

    assert isinstance(found, Unknown)
    assert time.perf_counter() - began < 1.5


def test_each_request_has_its_own_silence_however_long_its_connection_has_lived() -> None:
    asked: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await request_of(reader)
                asked.append(time.monotonic())
                if len(asked) < 6:
                    await asyncio.sleep(0.15)
                    writer.write(TAKEN)
        except (asyncio.IncompleteReadError, ConnectionError):
            ended.append(time.monotonic())
            writer.close()

    ended: list[float] = []
    *quick, silent = told(serve, times=6)

    assert all(isinstance(one, Answer) for one in quick), "a request was ended by the silence of one before it"
    assert isinstance(silent, Unknown)
    assert len(asked) == 6
    assert ended[0] - asked[5] >= LIMITS.read - 0.05


def test_a_shorter_silence_does_not_wait_for_a_longer_one_before_it() -> None:
    async def run() -> float:
        answers = [TAKEN]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await request_of(reader)
                    if answers:
                        writer.write(answers.pop())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        wire = await Wire.connect(Place.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        request = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
        await wire.ask(request, silence=20.0, whole=20.0)
        asked = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.ask(request, silence=0.2, whole=20.0), 10)
        server.close()
        return time.monotonic() - asked

    assert asyncio.run(run()) < 5


def test_a_connection_that_the_provider_closed_meanwhile_is_not_used_again() -> None:
    found = told(saying(TAKEN, then_close=True), times=5, pause=0.05)

    assert [type(one) for one in found] == [Answer] * 5


def test_a_connection_announced_to_end_is_not_used_again() -> None:
    found = told(saying(TAKEN.replace(b"X-M", b"Connection: close\r\nX-M")), times=3)

    assert [type(one) for one in found] == [Answer] * 3


def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_request() -> None:
    stray = TAKEN.replace(b"m1", b"m0")

    found = told(saying(TAKEN, stray), times=4)

    assert "m0" not in [one.headers["X-Message-Id"] for one in found if isinstance(one, Answer)]


def test_a_request_is_one_post_below_the_address() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await request_of(reader))
        writer.write(TAKEN)
        writer.close()

    told(serve)

    lines = asked[0].split(b"\r\n")
    assert lines[0] == b"POST /base/send HTTP/1.1"
    assert {b"Authorization: Bearer x", b"Content-Length: 2", b"Accept-Encoding: identity"} < set(lines)


def test_a_header_cannot_smuggle_another_one_in() -> None:
    with pytest.raises(ValueError, match="line break"):
        Place.of("http://127.0.0.1").head("/", {"A": "b\r\nC: d"})


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://api.sendgrid.com", Place("api.sendgrid.com", 443, True, "", "api.sendgrid.com")),
        ("http://127.0.0.1:8095/", Place("127.0.0.1", 8095, False, "", "127.0.0.1:8095")),
        ("http://[::1]:80/api/", Place("::1", 80, False, "/api", "[::1]:80")),
    ],
    ids=["tls", "port", "v6"],
)
def test_an_address_says_where_to_connect_and_what_to_ask(address: str, place: Place) -> None:
    assert Place.of(address) == place
