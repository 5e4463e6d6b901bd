"""Every guard of once-only sending meets the case it is there for; without it, the same case must be noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crew import Crew
from small_shop import CART, MINUTE, NOON
from sqlalchemy import select

from tidings.ledger import people, schema
from tidings.sandbox.faults import Fault

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)
Case = Callable[[Any, Crew, dict[str, Any]], None]


def sleeping_before_begin(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """A lane sleeps with what it has rendered; another sends it; the first wakes."""
    post.plan()
    sleeper = post.sleeper(crew, "rendered", **broken)
    post.finish(crew, NOON + MINUTE)
    sleeper.wake()
    crew.wait(sleeper)
    assert post.check().counted == {"sent": 6}


def sleeping_unmissed(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """A lane sleeps past its lease, nobody has noticed, and it wakes."""
    post.plan()
    sleeper = post.sleeper(crew, "rendered", **broken)
    post.outlive_leases()
    sleeper.wake()
    told = crew.wait(sleeper).told
    assert told["lost"] == told["claimed"] > 0
    assert post.check(settled=False).accepted == ()
    assert post.finish(crew, NOON).counted == {"sent": 6}


def sleeping_in_flight(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """A lane sleeps at the provider's door; the reaper comes; the lane wakes and goes in."""
    post.plan()
    sleeper = post.sleeper(crew, "sending")
    post.outlive_leases()
    crew.run(post.shop, "dispatch", NOON + MINUTE, **broken)
    sleeper.wake()
    crew.wait(sleeper)
    assert post.check().counted == {"sent": 6}


def sleeping_after_the_answer(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """A lane sleeps with the answer in its hands; the reaper comes; the lane wakes and proves it."""
    post.plan()
    sleeper = post.sleeper(crew, "answered", **broken)
    assert post.finish(crew, NOON).counted == {"sent": 5, "unknown": 1}
    sleeper.wake()
    crew.wait(sleeper)
    assert post.check().counted == {"sent": 6}


def lost_answer(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """Messages were taken and the answers lost; hours later the dispatcher runs again."""
    post.plan()
    post.sandbox.faults.add(Fault("drop_after_accept"))
    crew.run(post.shop, "dispatch", NOON, **broken)
    post.sandbox.faults.clear()
    assert post.finish(crew, NOON + HOUR).counted == {"unknown": 6}


def full_cap(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """Everybody was written to an hour ago, and another campaign would write as well."""
    post.plan("cart")
    crew.run(post.shop, "dispatch", NOON)
    post.plan("later")
    crew.run(post.shop, "dispatch", NOON + HOUR, **broken)
    assert post.check(settled=False).counted == {"sent": 6, "planned": 6}


def shared_mailbox(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """Two customers read one mailbox; while a lane counts what one of them got, another lane writes to the other."""
    for who in ("s0", "s1"):
        post.shop.customer(who, email="shared@post.example")
        post.shop.cart(who, at=NOON - 90 * MINUTE)
    post.shop.load()
    post.plan("cart")
    for n in range(6):
        _end(post, f"c{n}")
    assert len({row.shard for row in _messages(post) if row.status == "planned"}) == 2
    first = post.sleeper(crew, "counting", **broken)
    post.free_shards()
    second = crew.start(post.shop, "dispatch", NOON)
    # With the lock the second cannot go on before the first has.
    ends = time.monotonic() + 3
    while not second.asleep and time.monotonic() < ends:
        time.sleep(0.02)
    first.wake()
    crew.wait(first)
    crew.wait(second)
    assert len(post.check(settled=False).accepted) == 1


def opt_out_after_the_gates(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """A person opts out between the gates and the commit, as does a mailbox."""
    post.plan()
    lane = post.sleeper(crew, "rendered", **broken)
    held = [row for row in _messages(post) if row.status == "claimed"]
    subjects = [f"a:{held[0].address_hash}", f"p:{held[-1].customer_id}"]
    with post.opened.ledger.writing() as conn:
        people.suppress(conn, subjects, channel=None, reason="unsubscribed", at=NOON, source="test")
    lane.wake()
    crew.wait(lane)
    gone = len({held[0].id, held[-1].id})
    assert post.finish(crew, NOON).counted == {"sent": 6 - gone, "skipped": gone}


def bought_since(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """Somebody bought after the message was planned."""
    post.plan()
    post.shop.order("c0", NOON - MINUTE)
    post.shop.load()
    crew.run(post.shop, "dispatch", NOON, **broken)
    assert post.check().counted == {"sent": 5, "skipped": 1}


def planned_again(post: Any, crew: Crew, broken: dict[str, Any]) -> None:
    """The same entries are found a second time."""
    post.plan()
    told = crew.run(post.shop, "plan", NOON, campaigns=["cart"], **broken).told
    assert (told["found"], told["known"]) == (6, 6)
    assert post.finish(crew, NOON).counted == {"sent": 6}


def _messages(post: Any) -> list[Any]:
    with post.opened.ledger.reading() as conn:
        return list(conn.execute(select(schema.messages).order_by(schema.messages.c.customer_id)))


def _end(post: Any, customer: str) -> None:
    m = schema.messages.c
    with post.opened.ledger.writing() as conn:
        ended = {"status": "cancelled", "reason": "suppressed"}
        conn.execute(schema.messages.update().where(m.customer_id == customer).values(**ended))


# The guard, the case it is there for, and what is noticed without it.
CASES: dict[str, tuple[Case, str, str]] = {
    "without_token": (sleeping_before_begin, "sqlite", "I1"),
    "without_lease": (sleeping_unmissed, "sqlite", "assert 0 == "),
    "reaper_plans_again": (sleeping_in_flight, "sqlite", "I1"),
    "late_proof_is_refused": (sleeping_after_the_answer, "sqlite", "'unknown': 1"),
    "unknown_is_retried": (lost_answer, "sqlite", "I1"),
    "without_caps": (full_cap, "sqlite", "I5"),
    "without_lock": (shared_mailbox, "postgresql", "I5"),
    "without_last_opt_out": (opt_out_after_the_gates, "postgresql", "I4"),
    "without_recheck": (bought_since, "sqlite", "'skipped': 1"),
    "without_conflict_clause": (planned_again, "sqlite", "unique constraint"),
}
# What a second guard would hide: a cap stops some messages that would go twice.
APART = {
    sleeping_before_begin: "caps: []\ndispatch: {shards: 8, lanes: 4, batch: 8}\n",
    sleeping_in_flight: "caps: []\ndispatch: {shards: 8, lanes: 4, batch: 8}\n",
    shared_mailbox: "dispatch: {shards: 4, lanes: 4, batch: 8}\n",
}
CAMPAIGNS = {"cart": CART.format(id="cart"), "later": CART.format(id="later")}


@pytest.mark.parametrize("guard", CASES)
def test_the_guard_holds_and_its_absence_is_noticed(new_post: Callable[..., Any], crew: Crew, guard: str) -> None:
    case, database, noticed = CASES[guard]
    shop: dict[str, Any] = {"customers": 6, "connections": 1}
    shop["campaigns"] = CAMPAIGNS if case is full_cap else {"cart": CAMPAIGNS["cart"]}
    if case in APART:
        shop["settings"] = APART[case]

    case(new_post(database, **shop), crew, {})

    post = new_post(database, **shop)
    post.broken = True
    with pytest.raises(AssertionError, match=noticed):
        case(post, crew, {"mutant": guard})


def test_an_answer_that_the_oracle_never_saw_is_noticed(new_post: Callable[..., Any], crew: Crew) -> None:
    post = new_post("sqlite", customers=2, connections=1)
    post.plan()
    crew.run(post.shop, "dispatch", NOON)
    post.check()

    post.sandbox.store.messages.append(post.sandbox.store.messages[0])
    with pytest.raises(AssertionError, match="I1"):
        post.check()

    del post.sandbox.store.messages[1:]
    with pytest.raises(AssertionError, match="I2"):
        post.check()
    post.broken = True
