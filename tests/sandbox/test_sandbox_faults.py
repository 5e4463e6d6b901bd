"""The sandbox misbehaves on demand, and what it accepted is on disk whatever happens to the answer or the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidings.channels.base import Envelope
from tidings.errors import Halt, Reject, Retry, Unknown
from tidings.sandbox.faults import Fault, Faults
from tidings.sandbox.server import Sandbox
from tidings.sandbox.store import Store

Make = Callable[..., Envelope]


@pytest.mark.parametrize("provider", ["sendgrid", "twilio"])
@pytest.mark.parametrize(
    ("kind", "refusal", "kept"),
    [
        ("400", Reject, 0), ("401", Halt, 0), ("403", Halt, 0), ("429", Retry, 0), ("500", Unknown, 0),
        ("503", Unknown, 0), ("timeout", Unknown, 0), ("drop", Unknown, 0), ("drop_after_accept", Unknown, 1),
        ("half_after_accept", Unknown, 1), ("timeout_after_accept", Unknown, 1), ("garbage", Unknown, 1),
    ],
)  # fmt: skip
def test_a_fault_is_met_once_and_says_whether_the_message_was_kept(
    sandbox: Sandbox, send: Any, mail: Make, text: Make, provider: str, kind: str, refusal: type, kept: int
) -> None:
    make = mail if provider == "sendgrid" else text
    sandbox.faults.add(Fault(kind, provider, count=1))

    found = send(make(1), make(2))

    assert [type(one) for one in found] == [refusal, str]
    assert len(sandbox.store.messages) == kept + 1


def test_a_429_names_its_wait_in_each_providers_way(sandbox: Sandbox, send: Any, mail: Make, text: Make) -> None:
    sandbox.faults.add(Fault("429", retry_after=40, count=2))

    by_mail, by_text = send(mail(), text())

    assert 38 <= by_mail.after <= 41
    assert by_text.after == 40


def test_twilio_codes_can_be_chosen(sandbox: Sandbox, send: Any, text: Make) -> None:
    sandbox.faults.add(Fault("code", "twilio", count=1, code=21614))

    (found,) = send(text())

    assert (type(found), found.suppress) == (Reject, "bad_number")


def test_a_slow_answer_arrives(sandbox: Sandbox, send: Any, mail: Make) -> None:
    sandbox.faults.add(Fault("slow", count=1, seconds=0.3))

    assert isinstance(send(mail())[0], str)


def test_a_share_of_requests_is_repeatable() -> None:
    def met() -> list[bool]:
        faults = Faults(seed=7)
        faults.add(Fault("500", share=0.3))
        return [faults.next("sendgrid") is not None for _ in range(200)]

    assert met() == met()
    assert 40 <= sum(met()) <= 80


def test_faults_over_http(ask: Callable[..., Any], send: Any, mail: Make) -> None:
    assert ask("/sandbox/faults", {"kind": "500", "count": 1})[0] == 200
    assert isinstance(send(mail())[0], Unknown)

    status, _, body = ask("/sandbox/faults", {"kind": "exploding"})

    assert status == 400
    assert json.loads(body)["error"].startswith("kind: must be one of 400, 401")


def test_a_message_accepted_twice_is_counted(sandbox: Sandbox, ask: Callable[..., Any], send: Any, mail: Make) -> None:
    send(mail(1), mail(1), mail(2))

    told = json.loads(ask("/sandbox/accepted.json?after=1")[2])

    assert told["repeated"] == {f"{1:032x}": 2}
    assert told["total"] == 3
    assert [one["no"] for one in told["messages"]] == [2, 3]


def test_reset_forgets_everything(sandbox: Sandbox, send: Any, mail: Make) -> None:
    send(mail(1))
    sandbox.faults.add(Fault("500"))
    sandbox.reset()

    assert isinstance(send(mail(2))[0], str)
    assert [one.no for one in sandbox.store.messages] == [1]


_SERVE = "import sys; from pathlib import Path; from tidings.sandbox.server import Sandbox; " \
         "print(Sandbox(Path(sys.argv[1])).start().port, flush=True); sys.stdin.read()"  # fmt: skip


def test_what_was_answered_is_on_disk_after_a_kill(send: Any, mail: Make, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    send.url = f"http://127.0.0.1:{int(process.stdout.readline())}"
    answers: list[Any] = []
    sending = threading.Thread(target=lambda: answers.extend(send(*(mail(no) for no in range(400)))))
    sending.start()
    while not (tmp_path / "accepted.jsonl").exists() or (tmp_path / "accepted.jsonl").stat().st_size < 2000:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    sending.join()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()

    store = Store(tmp_path)
    known = {message.id for message in store.messages}
    store.close()

    taken = [one for one in answers if isinstance(one, str)]
    assert len(taken) >= 1
    assert set(taken) <= known
    assert len(known) <= len(taken) + 1


def test_a_line_torn_by_a_crash_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    facts = {"provider": "sendgrid", "id": "x1", "message": "m1", "to": "a@example.com", "sender": "s", "title": "t",
             "at": 1.0, "arrived": 1.0}  # fmt: skip
    store = Store(tmp_path)
    store.add(facts, {"text": "one"})
    store.close()
    with store.path.open("ab") as file:
        file.write(b'{"no":2,"provider":"send')

    again = Store(tmp_path)
    again.add({**facts, "id": "x2", "message": "m2"}, {"text": "two"})

    assert [again.words(message)["text"] for message in again.messages] == ["one", "two"]
    again.close()
    assert len(Store(tmp_path).messages) == 2
