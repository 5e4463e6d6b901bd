"""What stays up says where it listens, serves, and stops cleanly when told."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidings.cli import run


@contextmanager
def staying_up(shop: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    program = Path(sys.executable).with_name("tidings")
    process = subprocess.Popen([program, *words], cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def fetched(url: str) -> int:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody answers at {url}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_sandbox_says_where_its_inbox_is_and_stops_on_term(shop: Path) -> None:
    with staying_up(shop, "sandbox", "--port", "0") as (process, told):
        url = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert url is not None, process.communicate()

        status = fetched(url[0] + "/")
        process.send_signal(signal.SIGTERM)

        assert status == 200
        assert process.wait(20) == 0


def test_the_public_service_answers_and_stops_on_term(shop: Path) -> None:
    assert run(["migrate", "--project", str(shop)]) == 0
    port = free_port()
    with staying_up(shop, "web", "--port", str(port)) as (process, told):
        assert told.startswith(f"Listening on http://127.0.0.1:{port}"), process.communicate()

        status = fetched(f"http://127.0.0.1:{port}/healthz")
        process.send_signal(signal.SIGINT)

        assert status == 200
        assert process.wait(20) in (0, 130)


def test_a_shop_in_production_has_no_sandbox(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shop / "tidings.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "production: true\n", encoding="utf-8")

    program = Path(sys.executable).with_name("tidings")
    done = subprocess.run([program, "sandbox"], cwd=shop, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (
        2,
        "tidings.yaml: production: must be false for the sandbox; found true\n",
    )
