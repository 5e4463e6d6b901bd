"""Many small requests, one commit: each is answered when what it said is durable, none waits for a quiet moment."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.concurrency import run_in_threadpool

from tidings.jobs import way_back
from tidings.jobs.opening import Opened
from tidings.jobs.way_back import Report

# Work for one transaction; what is bigger is written in parts of its own.
_MOST_REPORTS, _MOST_EVENTS = 500, 5000
_Waiting = tuple[Report, "asyncio.Future[None]"]


class Intake:
    """Writes reports in the order they came. While one commit is under way the next ones gather behind it."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def take(self, report: Report) -> None:
        """Return when the report is in the ledger; raise LedgerError when it is not, so that it is sent again."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((report, done))
        if self._writer is None or self._writer.done() or self._writer.get_loop() is not loop:
            self._writer = loop.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            some = self._next()
            try:
                await run_in_threadpool(way_back.take_reports, self._opened, [one for one, _ in some])
            except Exception as trouble:
                await self._each(some, trouble)
            else:
                for _, done in some:
                    _settle(done)

    async def _each(self, some: list[_Waiting], trouble: Exception) -> None:
        """One of them may be what cannot be written: the others must not suffer for it."""
        for report, done in some:
            if len(some) == 1:
                _settle(done, trouble)
                continue
            try:
                await run_in_threadpool(way_back.take_reports, self._opened, [report])
            except Exception as its_own:
                _settle(done, its_own)
            else:
                _settle(done)

    def _next(self) -> list[_Waiting]:
        some: list[_Waiting] = []
        events = 0
        while self._waiting and len(some) < _MOST_REPORTS and events < _MOST_EVENTS:
            some.append(self._waiting.popleft())
            events += max(1, len(some[-1][0].raws))
        return some


def _settle(done: asyncio.Future[None], trouble: Exception | None = None) -> None:
    if done.done():
        return
    if trouble is None:
        done.set_result(None)
    else:
        done.set_exception(trouble)
