"""Whatever a provider does: what may have been taken is never offered again, what was not leaves later (F4-F6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crew import Crew
from herd import herd_of
from oracle import adds_up, assert_nothing_new
from small_shop import CART, NOON

from tidings.sandbox.faults import AFTER_ACCEPT, Fault
from tidings.sandbox.server import Sandbox

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)
QUICK = """\
caps: [{channel: email, at_most: 1, per: 16h}]
dispatch: {shards: 8, lanes: 1, batch: 16, lease: 1m, connect_timeout: 1s, timeout: 1s, margin: 2s, halt_after: 1000}
"""
AMBIGUOUS = ("drop_after_accept", "half_after_accept", "timeout_after_accept", "garbage", "500", "502", "503", "504",
             "timeout", "drop")  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_lost_answer_is_unknown_and_stays_so(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox, database: str
) -> None:
    post = new_post(database, customers=24, settings=QUICK)
    post.plan()
    for kind in AMBIGUOUS:
        sandbox.faults.add(Fault(kind, count=2))

    told = crew.run(post.shop, "dispatch", NOON).told
    found = post.check()
    adds_up(told)

    assert (told["unknown"], told["sent"]) == (20, 4)
    assert found.counted == {"unknown": 20, "sent": 4}
    taken = 2 * len(set(AMBIGUOUS) & set(AFTER_ACCEPT))
    assert len(found.accepted) == 4 + taken
    for later in (HOUR, 24 * HOUR - timedelta(minutes=1), 48 * HOUR):
        assert_nothing_new(found, post.finish(crew, NOON + later))


def test_unknown_counts_as_a_contact_and_is_presumed_lost_at_last(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    campaigns = {"cart": CART.format(id="cart"), "later": CART.format(id="later") + "cooldown: 1d\n"}
    post = new_post("sqlite", customers=4, settings=QUICK, campaigns=campaigns)
    post.plan("cart")
    sandbox.faults.add(Fault("drop"))
    crew.run(post.shop, "dispatch", NOON)
    sandbox.faults.clear()
    post.plan("later")

    capped = crew.run(post.shop, "dispatch", NOON + HOUR).told

    assert (capped["sent"], capped["deferred"]) == (0, 4)
    # The later campaign's messages leave when the cap has room; the unknown ones never do.
    told = crew.run(post.shop, "dispatch", NOON + 22 * HOUR).told
    assert told["sent"] == 4
    crew.run(post.shop, "dispatch", NOON + 80 * HOUR)
    assert post.check().counted == {"presumed_lost": 4, "sent": 4}


@pytest.mark.parametrize("retry_after", [None, 30.0], ids=["without a hint", "with a hint"])
def test_a_storm_of_429_delays_and_doubles_nothing(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox, retry_after: float | None
) -> None:
    post = new_post("sqlite", customers=24, settings=QUICK)
    post.plan()
    sandbox.faults.add(Fault("429", share=0.6, retry_after=retry_after))
    now, rounds = NOON, 0
    retried = 0
    while rounds < 6:
        told = crew.run(post.shop, "dispatch", now).told
        adds_up(told)
        assert (told["failed"], told["unknown"]) == (0, 0)
        retried += told["retried"]
        now, rounds = now + timedelta(minutes=20), rounds + 1
        post.check(settled=False)
        if rounds == 2:
            sandbox.faults.clear()

    assert retried > 0
    assert post.check().counted == {"sent": 24}


@pytest.mark.parametrize("retry_after", [None, 1.0], ids=["without a hint", "with a hint"])
def test_a_storm_of_429_is_weathered_within_the_rate_that_was_agreed(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox, retry_after: float | None
) -> None:
    post = new_post("sqlite", customers=24, settings=QUICK.replace("batch: 16", "batch: 32"), connections=24)
    settings = post.shop.folder / "tidings.yaml"
    settings.write_text(settings.read_text().replace("email: {name: sendgrid,", "email: {name: sendgrid, rate: 4,"))
    post.plan()
    sandbox.faults.add(Fault("429", share=0.3, retry_after=retry_after, count=4))
    now = NOON
    for _ in range(4):
        told = crew.run(post.shop, "dispatch", now).told
        adds_up(told)
        assert (told["failed"], told["unknown"]) == (0, 0)
        now += timedelta(minutes=20)

    assert post.check().counted == {"sent": 24}
    came = sandbox.faults.came
    assert len(came) == 24 + sandbox.faults.met > 24
    # What a busy machine held up for a second may come at once; whatever else comes, comes at its rate.
    for first, at in enumerate(came):
        assert sum(one <= at + 1.0 for one in came[first:]) <= 4 * (1.0 + 1.0) + 1


def test_after_an_outage_what_has_expired_is_not_sent_in_a_burst(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    campaigns = {"cart": CART.format(id="cart").replace("24h", "4h")}
    post = new_post("sqlite", customers=8, settings=QUICK, campaigns=campaigns)
    post.plan()
    sandbox.faults.add(Fault("429"))
    for hours in (0, 2):
        crew.run(post.shop, "dispatch", NOON + hours * HOUR)
    sandbox.faults.clear()

    crew.run(post.shop, "dispatch", NOON + 6 * HOUR)

    found = post.check()
    assert (found.counted, found.accepted) == ({"expired": 8}, ())


def test_a_message_the_provider_refuses_fails_alone_with_its_reason(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    post = herd_of(new_post, "sqlite", 1_000, settings=QUICK.replace("batch: 16", "batch: 500"), connections=8)
    post.plan()
    sandbox.faults.add(Fault("400", count=1))

    told = crew.run(post.shop, "dispatch", NOON).told

    adds_up(told)
    found = post.check()
    assert found.counted == {"sent": 999, "failed": 1}
    # Each has a request of its own, so there is nothing to take apart: a thousand requests, one of them refused.
    assert len(found.accepted) + sandbox.faults.met == 1_000
    assert_nothing_new(found, post.finish(crew, NOON + HOUR))


def test_a_run_of_ambiguous_answers_stops_the_provider_before_everything_is_in_doubt(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox
) -> None:
    post = new_post("sqlite", customers=24, settings=QUICK.replace("halt_after: 1000", "halt_after: 4"))
    post.plan()
    sandbox.faults.add(Fault("503"))

    told = crew.run(post.shop, "dispatch", NOON).told

    adds_up(told)
    found = post.check(settled=False)
    assert 4 <= found.counted["unknown"] <= 8
    assert found.counted["planned"] == 24 - found.counted["unknown"]
    assert_nothing_new(found, _again(post, crew, timedelta(minutes=5)))
    # After a while a single message is offered, to see whether the provider is well again.
    probed = _again(post, crew, HOUR)
    assert probed.counted["unknown"] == found.counted["unknown"] + 1


def _again(post: Any, crew: Crew, later: timedelta) -> Any:
    crew.run(post.shop, "dispatch", NOON + later)
    return post.check(settled=False)
