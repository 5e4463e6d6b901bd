"""Planning twice changes nothing, and every entry has an answer that can be counted."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_builders import DAY, NOON, entry_row, message_row
from sqlalchemy import func, select

from tidings.ledger import planning
from tidings.ledger.planning import CampaignState, Recorded
from tidings.ledger.schema import cooldowns, entries, messages, runs
from tidings.ledger.store import Ledger, migrate
from tidings.model.entry import Entry, Item

WORKERS = Path(__file__).parent / "ledger_workers.py"


def test_recording_the_same_entries_again_changes_nothing(record, statuses):
    assert record(entry_row("a"), entry_row("b", customer="bob")) == Recorded(2, 0, 2, 0, {}, 0)
    before = statuses()

    assert record(entry_row("a"), entry_row("b", customer="bob")) == Recorded(0, 2, 0, 0, {}, 0)

    assert statuses() == before


def test_an_entry_given_twice_in_one_batch_counts_once(record):
    assert record(entry_row("a"), entry_row("a")) == Recorded(1, 0, 1, 0, {}, 0)


def test_an_entry_never_loses_the_cooldown_to_itself(ledger, record, statuses):
    record(entry_row("a"))
    with ledger.writing() as conn:
        conn.execute(messages.delete())
        conn.execute(entries.delete())

    assert record(entry_row("a")).planned == 1


@pytest.mark.parametrize(
    ("later", "answer"),
    [(7 * DAY - timedelta(microseconds=1), {"cooldown": 1}), (7 * DAY, {})],
    ids=["just before its end", "at its end"],
)
def test_a_second_entry_within_the_cooldown_is_skipped(record, later, answer):
    record(entry_row("first"))
    assert record(entry_row("second", entered_at=NOON + later)).skipped == answer


def test_two_skus_and_two_campaigns_do_not_block_each_other(record):
    record(entry_row("a", sku="red"))

    assert record(entry_row("b", sku="blue")).planned == 1
    assert record(entry_row("c", sku="red")).skipped == {"cooldown": 1}
    assert record(entry_row("a", sku="red"), campaign="price").planned == 1


def test_of_two_entries_in_one_batch_the_earlier_wins(record, statuses):
    late = entry_row("a", entered_at=NOON + DAY, messages=(message_row(id="late"),))
    early = entry_row("b", messages=(message_row(id="early"),))

    record(late, early)

    assert statuses() == {"early": ("planned", None), "late": ("skipped", "cooldown")}


def test_an_entry_refused_at_once_takes_no_cooldown(record):
    refused = message_row(status="skipped", reason="no_address")
    assert record(entry_row("a", messages=(refused,))).skipped == {"no_address": 1}
    assert record(entry_row("b")).planned == 1


def test_a_dry_run_takes_no_cooldown_from_the_real_space_and_can_be_dropped(ledger, record):
    record(entry_row("a"), space="dry_run")
    assert record(entry_row("b")).planned == 1

    with ledger.writing() as conn:
        assert planning.drop_dry_run(conn, "cart") == 1
        assert conn.scalars(select(entries.c.space)).all() == ["live"]
        assert conn.scalars(select(cooldowns.c.space)).all() == ["live"]


def test_the_held_out_part_of_the_planned_is_shown_apart(record):
    assert record(entry_row("a", arm="held_out"), entry_row("b", customer="bob")) == Recorded(2, 0, 2, 1, {}, 0)


def test_what_an_entry_saw_comes_back_as_it_was():
    seen = Entry(
        "k", "ann", NOON, NOON, "red", (Item("red", "p", 2, 1999, "EUR", NOON), Item("blue")), 3998, "EUR", "de",
        {"cart": "7", "name": "naïve ‮ 🛒"},
    )  # fmt: skip

    class Row:
        entry_key, customer_id, anchor_at, entered_at, sku = "k", "ann", NOON, NOON, "red"
        value, currency, seen = 3998, "EUR", ""

    Row.seen = planning.seen_json(seen)
    assert planning.entry_from(Row) == seen


def test_the_watermark_never_goes_back(ledger):
    with ledger.writing() as conn:
        assert planning.campaign_state(conn, "live", "cart") is None
        planning.save_state(conn, CampaignState("cart", "live", NOON, "old"))
        planning.save_state(conn, CampaignState("cart", "live", NOON - DAY, "new", waiting_count=7))
        planning.save_state(conn, CampaignState("cart", "live", None, "new", waiting_count=7))
        assert planning.campaign_state(conn, "live", "cart") == CampaignState("cart", "live", NOON, "new", None, 7)


def test_a_run_that_has_ended_keeps_its_counters(ledger):
    with ledger.writing() as conn:
        run = planning.start_run(conn, None, "plan", "cart", as_of=NOON, now=NOON)
        planning.end_run(conn, run, {"found": 3}, now=NOON)
        planning.end_run(conn, run, {"found": 9}, now=NOON + DAY)
        assert conn.execute(select(runs.c.counters, runs.c.ended_at)).one() == ('{"found":3}', NOON)


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_four_planners_of_the_same_entries_write_each_once(ledger, ledger_url, how):
    def run(worker: str) -> dict[str, int]:
        if how == "threads":
            import ledger_workers

            return ledger_workers.plan(ledger, worker, 3, 60)
        command = [sys.executable, str(WORKERS), "plan", ledger_url, worker, "3", "60"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(run, "abcd"))

    assert sum(one["new"] for one in told) == 180
    assert sum(one["planned"] for one in told) == 90
    assert sum(one["skipped"] for one in told) == 90
    with ledger.reading() as conn:
        assert conn.scalar(select(func.count()).select_from(entries)) == 180
        planned = select(messages.c.customer_id, func.count()).where(messages.c.status == "planned")
        assert {count for _, count in conn.execute(planned.group_by(messages.c.customer_id))} == {1}


@pytest.fixture(scope="module")
def sqlite_ledger():
    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/l.db")
        ledger = Ledger.open(f"sqlite:///{folder}/l.db")
        yield ledger
        ledger.close()


_entries = st.lists(
    st.tuples(
        st.integers(0, 6),  # which occasion
        st.integers(0, 2),  # whose
        st.integers(0, 20),  # entered on which day
        st.booleans(),
        st.lists(st.sampled_from(["planned", "skipped", "expired"]), min_size=2, max_size=2),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(_entries, min_size=1, max_size=3))
def test_counters_add_up_and_no_two_live_entries_lie_within_a_cooldown(sqlite_ledger, batches):
    with sqlite_ledger.writing() as conn:
        for table in (messages, entries, cooldowns):
            conn.execute(table.delete())
    for batch in batches:
        rows = [
            entry_row(
                f"{key}|{who}", customer=f"c{who}", entered_at=NOON + day * DAY, arm="held_out" if out else "treated",
                messages=tuple(
                    message_row(step=f"s{n}", step_no=n, status=born, reason=None if born == "planned" else "stale")
                    for n, born in enumerate(born_as)
                ),
            )
            for key, who, day, out, born_as in batch
        ]  # fmt: skip
        with sqlite_ledger.writing() as conn:
            got = planning.record(conn, rows, space="live", campaign="cart", run_id="r", now=NOON)

        assert got.new + got.known == len({row.entry.key for row in rows})
        assert got.new * 2 == got.planned + sum(got.skipped.values()) + got.expired
        assert got.held_out <= got.planned
    with sqlite_ledger.reading() as conn:
        live = (
            select(entries.c.id, entries.c.customer_id, entries.c.entered_at)
            .where(entries.c.id.in_(select(messages.c.entry_id).where(messages.c.status == "planned")))
            .order_by(entries.c.customer_id, entries.c.entered_at)
        )
        found = conn.execute(live).all()
    for one, other in itertools.pairwise(found):
        if one.customer_id == other.customer_id:
            assert other.entered_at - one.entered_at >= 7 * DAY
