"""A provider that takes everything: a bare HTTP server in a process of its own, which answers 202 at once or late."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_NUMBERS = itertools.count(1)


class Taker(asyncio.Protocol):
    """One connection: reads requests by their Content-Length, one after the other, and never looks inside."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.kept += data
        while (head := self.kept.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.kept, 0, head + 2)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self.kept) < end:
                return
            self.kept = self.kept[end:]
            asyncio.get_running_loop().call_later(self.delay, self.answer) if self.delay else self.answer()

    def answer(self) -> None:
        if not self.transport.is_closing():
            number = b"%022d" % next(_NUMBERS)
            self.transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 202 Accepted\r\nX-Message-Id: " + number + b"\r\nContent-Length: 0\r\n\r\n"
            )


async def serve(delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Taker(delay), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def sink(delay: float) -> Iterator[str]:
    """Run a sink that answers after so many seconds, and yield its address."""
    process = subprocess.Popen([sys.executable, __file__, str(delay)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1])))
