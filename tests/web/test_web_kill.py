"""What was answered with 2xx is in the ledger, whatever happens to the process a moment later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select

from tidings.ledger import schema

MAIL = "0a" * 16
_WEB = "from tidings.cli import main; main()"


def serve(shop: Any) -> subprocess.Popen[bytes]:
    folder, port = shop.opened.project.folder, urlsplit(shop.base).port
    command = [sys.executable, "-c", _WEB, "web", "--project", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{shop.base}/healthz", timeout=2).status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError("the public web service did not come up")


def post_until_refused(shop: Any, worker: int, answered: list[str]) -> None:
    with httpx.Client(timeout=10) as client:
        for n in range(100_000):
            names = [f"w{worker}-{n}-{k}" for k in range(5)]
            body = json.dumps([
                {"event": "delivered", "sg_event_id": name, "d": MAIL, "timestamp": 1795168860} for name in names
            ]).encode()  # fmt: skip
            headers = shop.signs.sendgrid(body, str(int(datetime.now(UTC).timestamp())))
            try:
                answer = client.post(f"{shop.base}/webhooks/sendgrid", content=body, headers=headers)
            except httpx.HTTPError:
                return
            if answer.status_code == 204:
                answered += names


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_when_the_service_is_killed(shop: Any) -> None:
    answered: list[str] = []
    for round_ in range(3):
        process = serve(shop)
        lists: list[list[str]] = [[] for _ in range(4)]
        threads = [
            threading.Thread(target=post_until_refused, args=(shop, round_ * 10 + n, one))
            for n, one in enumerate(lists)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1.0 + round_ * 0.37)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for thread in threads:
            thread.join(30)
        answered += [name for one in lists for name in one]

    with shop.opened.ledger.reading() as conn:
        kept = set(conn.scalars(select(schema.engagements.c.id)))
        raws = set(conn.scalars(select(schema.raw_events.c.id)))
    assert len(answered) > 50
    assert set(answered) <= kept
    assert set(answered) <= raws
