"""A dispatcher killed at any moment sends nothing twice and loses nothing without a word (F1)."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crew import Crew, Worker
from oracle import assert_nothing_new, history
from small_shop import NOON

from tidings.sandbox.faults import Fault
from tidings.sandbox.server import Sandbox

pytestmark = pytest.mark.slow
KILLS, AT_ONCE, IN_FLIGHT = 8, 4, 4  # two connections, and one more window may be on its way to the ledger
DATABASES = ("sqlite", "postgresql")


@pytest.mark.parametrize(
    ("window", "doubtful"),
    [
        ("claimed", False),
        ("rendered", False),
        ("sending", True),
        ("in_http", True),
        ("answered", True),
        ("recorded", True),
    ],
    ids=[
        "after claim", "after render", "after the sending commit", "in mid HTTP", "after 202, before the outcome",
        "after the outcome",
    ],
)  # fmt: skip
def test_a_killed_dispatcher_sends_nothing_twice_and_loses_nothing(
    new_post: Callable[..., Any], crew: Crew, sandbox: Sandbox, window: str, doubtful: bool
) -> None:
    seed = random.Random(window)
    posts = {database: new_post(database) for database in DATABASES}
    killed = dict.fromkeys(DATABASES, 0)
    for post in posts.values():
        post.plan()
    if window == "in_http":
        sandbox.faults.add(Fault("slow", seconds=4, share=0.5))
        sandbox.faults.add(Fault("timeout"))

    for wave in range(12):
        workers: list[tuple[str, Worker]] = []
        for database, post in posts.items():
            if killed[database] < KILLS:
                post.outlive_leases()
                at = [_window(window, seed) for _ in range(AT_ONCE)]
                workers += [(database, crew.start(post.shop, "dispatch", NOON, **one)) for one in at]
        for database, worker in workers:
            killed[database] += crew.wait(worker).killed
        for post in posts.values():
            post.check(settled=False)
        if min(killed.values()) >= KILLS or wave == 11:
            break
    sandbox.faults.clear()

    assert min(killed.values()) >= KILLS, f"too little to kill: {killed}"
    for database, post in posts.items():
        found = post.finish(crew, NOON + timedelta(minutes=5))
        unknown = found.counted["unknown"]
        assert found.counted == {"sent": 64 - unknown, **({"unknown": unknown} if unknown else {})}
        assert unknown <= killed[database] * IN_FLIGHT * doubtful, "no HTTP had begun"
        crew.run(post.shop, "plan", NOON + timedelta(minutes=5), campaigns=["cart"])
        crew.run(post.shop, "dispatch", NOON + timedelta(minutes=10))
        assert_nothing_new(found, post.check())


@pytest.mark.parametrize("database", DATABASES)
def test_a_planner_killed_between_its_batches_is_made_up_for_by_the_next(
    new_post: Callable[..., Any], crew: Crew, database: str
) -> None:
    post = new_post(database)
    for nth in (2, 3, 5):
        order = {"campaigns": ["cart"], "batch": 8, "window": "planning", "nth": nth}
        assert crew.run(post.shop, "plan", NOON, **order).killed
    begun = len(history(post.opened, ()).messages)

    told = crew.run(post.shop, "plan", NOON + timedelta(minutes=15), campaigns=["cart"], batch=8).told

    assert 0 < begun < 64
    assert (told["found"], told["known"], told["new"]) == (64, begun, 64 - begun)
    post.planned = 64
    assert post.finish(crew, NOON + timedelta(minutes=20)).counted == {"sent": 64}


def _window(window: str, seed: random.Random) -> dict[str, Any]:
    """Return where one worker dies: at one of its first arrivals, just after the answer or as it is written down."""
    name = seed.choice(("answered", "recording")) if window == "answered" else window
    # The second claim is made while the first is in flight, so only the first proves that nothing is in doubt.
    most = {"claimed": 1, "rendered": 1, "in_http": 1}.get(name, 4)
    return {"window": name, "nth": seed.randint(1, most)}
