"""What the shop's people type when somebody calls, writes or asks: obeyed, handed out, forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tidings.cli import run
from tidings.jobs.opening import open_project
from tidings.ledger import people

Tidings = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _migrated(shop: Path) -> None:
    assert run(["migrate", "--project", str(shop)]) == 0


def _closed(shop: Path, customer_id: str) -> set[str]:
    with open_project(shop) as opened, opened.ledger.reading() as conn:
        return people.suppressed(conn, [f"p:{customer_id}"]).get(f"p:{customer_id}", set())


def test_a_no_by_telephone_closes_every_channel(shop: Path, tidings: Tidings) -> None:
    code, out, _ = tidings("opt-out", "c1")

    assert code == 0
    assert "email and sms closed for 1 id" in out
    assert _closed(shop, "c1") == {"email", "sms"}
    assert "closed already" in tidings("opt-out", "c1")[1]


def test_a_no_to_texts_leaves_e_mails_open(shop: Path, tidings: Tidings) -> None:
    tidings("opt-out", "c1", "--channel", "sms")

    assert _closed(shop, "c1") == {"sms"}


def test_an_address_alone_can_be_closed(tidings: Tidings) -> None:
    code, out, _ = tidings("opt-out", "--email", "Somebody@Post.example", "--json")

    assert code == 0
    assert json.loads(out) == {"ids": 0, "addresses": 1, "channels": ["email", "sms"], "news": True}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "customer: must be an id, --email or --phone; found nothing"),
        (("nobody",), "customer: must be known to the warehouse; found nobody under this id"),
        (("c1", "--channel", "fax"), '--channel: must be email, sms or all; found "fax"'),
        (("--email", "x"), "--email: must be an e-mail address; found something else"),
    ],
)
def test_a_mistake_is_one_line(tidings: Tidings, words: tuple[str, ...], told: str) -> None:
    code, _, err = tidings("opt-out", *words)

    assert code == 2
    assert err.strip() == told


def test_no_text_waits_and_a_wrong_one_cannot_be_settled(tidings: Tidings) -> None:
    assert "No text waits for a person." in tidings("texts")[1]
    assert tidings("texts", "--stop", "in-x")[::2] == (2, 'text: must be one that waits for a person; found "in-x"\n')


def test_a_person_is_handed_what_is_known_and_then_forgotten(shop: Path, tidings: Tidings, tmp_path: Path) -> None:
    file = tmp_path / "ann.json"

    assert tidings("export-person", "c1", "--to", str(file))[0] == 0
    assert "ann@post.example" in file.read_text(encoding="utf-8")
    code, out, _ = tidings("forget", "c1", "--yes")

    assert code == 0
    assert "never written to again" in out
