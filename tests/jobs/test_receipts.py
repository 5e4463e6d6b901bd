"""Evidence is written in one way only, is small, names nobody, and a chain of receipts shows every change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_shop import NOON

from tidings.content.templates import Rendered
from tidings.jobs.digests import Digests, sent_to, words
from tidings.jobs.versions import CHANGED, Repository
from tidings.ledger.receipts import GENESIS, canonical, digest, linked, moment, ref
from tidings.model.entry import Entry, Item
from tidings.model.people import Customer

PEPPER = b"p" * 32
ROW: dict[str, Any] = {
    "id": "m1", "entry_id": "e1", "space": "live", "campaign": "cart", "step": "reminder", "channel": "email",
    "held_out": False, "sending_at": NOON, "template_hash": "t", "segments": None, "provider": "sendgrid",
    "urls": "[]", "tracked": True, "evidence": "{}", "status": "sent", "provider_id": "x", "customer_id": "ann",
    "address_hash": "h",
}  # fmt: skip
OTHER: dict[str, Any] = {
    "id": "m2", "entry_id": "e2", "space": "dry_run", "campaign": "price", "step": "last", "channel": "sms",
    "held_out": True, "sending_at": NOON + timedelta(microseconds=1), "template_hash": None, "segments": 1,
    "provider": None, "urls": '["https://fenmark.example/"]', "tracked": False, "evidence": None,
}  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.text(min_size=1, max_size=20)


def row(**changed: Any) -> Any:
    return SimpleNamespace(**{**ROW, **changed})


@given(plain)
def test_what_is_canonical_stays_so_when_it_is_read_and_written_again(value: Any) -> None:
    said = canonical(value)

    assert canonical(orjson.loads(said)) == said


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_read_back_as_itself(at: datetime) -> None:
    assert datetime.fromisoformat(moment(at)) == at


@pytest.mark.parametrize("name", OTHER)
def test_nothing_that_may_never_change_can_without_another_digest(name: str) -> None:
    assert digest(row(**{name: OTHER[name]})) != digest(row())


@pytest.mark.parametrize("name", ["status", "provider_id", "customer_id", "address_hash"])
def test_what_proof_settles_or_erasure_takes_out_is_no_part_of_the_digest(name: str) -> None:
    assert digest(row(**{name: "another"})) == digest(row())


@given(st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=2, max_size=8), st.data())
def test_a_chain_shows_every_link_altered_taken_out_put_in_or_moved(digests: list[str], data: st.DataObject) -> None:
    def chain(some: list[str]) -> str:
        last = GENESIS
        for one in some:
            last = linked(last, one)
        return last

    at = data.draw(st.integers(0, len(digests) - 1))
    to = data.draw(st.integers(0, len(digests) - 1))
    moved = [one for place, one in enumerate(digests) if place != at]
    moved.insert(to, digests[at])

    assert chain([*digests[:at], "other", *digests[at + 1 :]]) != chain(digests)
    assert chain(digests[:at] + digests[at + 1 :]) != chain(digests)
    assert chain([*digests[:at], "more", *digests[at:]]) != chain(digests)
    assert (chain(moved) == chain(digests)) == (moved == digests)


@given(names, names, names)
def test_a_digest_of_a_person_tells_which_field_changed_and_leads_from_no_message_to_the_next(
    first: str, second: str, country: str
) -> None:
    digests = Digests(PEPPER)
    ann = Customer("ann", first_name=first, country=country)
    said = digests.person("m1", ann)

    changed = digests.person("m1", replace(ann, first_name=second))
    assert (changed["first_name"] == said["first_name"]) == (first == second)
    assert changed["country"] == said["country"]
    assert digests.person("m2", ann)["first_name"] != said["first_name"]
    assert Digests(b"q" * 32).person("m1", ann) != said


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_digest_of_an_occasion_is_that_of_what_was_seen_and_not_of_whose_it_is_now(one: int, other: int) -> None:
    def entry(price: int, customer: str) -> Entry:
        return Entry("k", customer, NOON, NOON, items=(Item("lamp", price=price, currency="EUR"),), facts={"b": "1"})

    digests = Digests(PEPPER)

    assert digests.entry(entry(one, "ann")) == digests.entry(entry(one, "anna"))
    assert (digests.entry(entry(one, "ann")) == digests.entry(entry(other, "ann"))) == (one == other)


def test_where_a_message_went_is_written_differently_for_each_message() -> None:
    assert sent_to("m1", "h") == sent_to("m1", "h") != sent_to("m2", "h")


@pytest.mark.parametrize("part", ["subject", "html", "text"])
def test_every_part_of_the_words_counts(part: str) -> None:
    letter = Rendered("a", None, "b", "c", (), "t")

    assert words(replace(letter, **{part: "x"})) != words(letter)


@given(st.text(), st.text(), st.text())
def test_a_version_is_named_after_kind_name_and_content(kind: str, name: str, content: str) -> None:
    try:
        found = ref(kind, name, content)
    except UnicodeEncodeError:
        return

    assert found == ref(kind, name, content) != ref(kind, name, content + " ")


def test_a_file_is_told_with_its_commit_and_whether_it_differs_from_it(tmp_path: Path) -> None:
    import subprocess

    def git(*said: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@fenmark.example"]
        return subprocess.run(["git", *who, *said], cwd=tmp_path, check=True, capture_output=True).stdout.decode()

    (tmp_path / "shop").mkdir()
    for name in ("kept", "edited"):
        (tmp_path / "shop" / name).write_text("1")
    assert Repository(tmp_path / "shop").commit_of(["kept"]) is None

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "shop/edited").write_text("2")
    (tmp_path / "shop/new").write_text("3")
    files = Repository(tmp_path / "shop")

    assert files.commit_of(["kept", "absent"]) == commit
    assert files.commit_of(["kept", "edited"]) == commit + CHANGED
    assert files.commit_of(["new"]) is None
