"""Work done by a process of its own: python ledger_workers.py JOB URL ARGUMENTS; prints what it did as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from ledger_builders import DAY, NOON, entry_row, intent, message_row

from tidings.ledger import dispatching, planning
from tidings.ledger.store import Ledger, migrate
from tidings.plan.caps import Cap


def plan(ledger: Ledger, worker: str, batches: int, size: int) -> dict[str, int]:
    """Record the same entries as every other planner, under ids of its own."""
    done = {"new": 0, "known": 0, "planned": 0, "skipped": 0}
    for batch in range(batches):
        rows = []
        for n in range(size):
            who = f"c{batch}-{n // 2}"  # two entries a customer: one must lose the cooldown
            one = message_row(id=f"{worker}-{batch}-{n}", shard=n % 4, address_hash=f"h{n % 7}")
            rows.append(entry_row(f"{batch}-{n}", customer=who, id=f"{worker}{batch}-{n}", messages=(one,)))
        with ledger.writing() as conn:
            got = planning.record(
                conn, rows[::-1] if worker > "b" else rows, space="live", campaign="cart", run_id=worker, now=NOON
            )
        done = {
            "new": done["new"] + got.new,
            "known": done["known"] + got.known,
            "planned": done["planned"] + got.planned,
            "skipped": done["skipped"] + sum(got.skipped.values()),
        }
    return done


def dispatch(ledger: Ledger, worker: str, seconds: int) -> dict[str, list[str]]:
    """Send whatever is due until nothing is, as several lanes do at once; report what it would have sent."""
    caps, sent, ends = [Cap(1, DAY)], [], time.monotonic() + seconds
    idle = 0
    while idle < 3 and time.monotonic() < ends:
        with ledger.writing() as conn:
            shard = dispatching.lease_shard(
                conn, space="live", owner=worker, now=NOON, lease=timedelta(seconds=20), skip=()
            )
        if shard is None:
            idle += 1
            time.sleep(0.05)
            continue
        sent += _shard(ledger, shard, caps)
        with ledger.writing() as conn:
            dispatching.release_shard(conn, space="live", shard=shard, owner=worker)
    return {"sent": sent}


def _shard(ledger: Ledger, shard: int, caps: list[Cap]) -> list[str]:
    sent: list[str] = []
    while True:
        with ledger.writing() as conn:
            held = dispatching.claim(conn, space="live", shard=shard, now=NOON, limit=10, lease=timedelta(minutes=5))
        if not held.due:
            return sent
        intents = [intent(due) for due in held.due]
        with ledger.writing() as conn:
            begun = dispatching.begin_sending(
                conn, space="live", token=held.token, intents=intents, caps=caps, now=NOON, ahead=timedelta(seconds=5)
            )
        with ledger.writing() as conn:
            dispatching.record_outcomes(
                conn,
                [dispatching.Outcome(mid, held.token, "sent", provider_id=f"x-{mid}") for mid in begun.sending],
                NOON,
            )
            dispatching.defer(conn, held.token, [(mid, at, "capped") for mid, at in begun.capped.items()])
        sent += begun.sending


def main() -> None:
    """Run one job and print what it did."""
    job, url, worker, *numbers = sys.argv[1:]
    if job == "migrate":
        print(json.dumps({"revision": migrate(url)}))
        return
    ledger = Ledger.open(url)
    jobs: dict[str, Callable[..., object]] = {"plan": plan, "dispatch": dispatch}
    print(json.dumps(jobs[job](ledger, worker, *map(int, numbers))))
    ledger.close()


if __name__ == "__main__":
    main()
