"""What a period is counted as equals counting its rows one by one, whatever the ledger holds, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, insert

from tidings.ledger import counts
from tidings.ledger.counts import Funnel, Persons
from tidings.ledger.schema import engagements, entries, messages
from tidings.ledger.store import Ledger, migrate
from tidings.model.engagement import EngagementKind
from tidings.model.message import Status

DAY = timedelta(days=1)
# Entries fall into the two days from BEFORE to END, onto their borders, and a little outside.
BEFORE = datetime(2026, 11, 1, 22, tzinfo=UTC)
START, END = BEFORE + DAY, BEFORE + 2 * DAY
STEPS = ("one", "two", "three")
REASONS = {Status.SKIPPED: ("capped", "purchased"), Status.CANCELLED: ("purchased", "paused")}

moments = st.sampled_from(
    [BEFORE - DAY, BEFORE, BEFORE + DAY / 2, START - timedelta(microseconds=1), START, END - DAY / 3, END]
)
acts = st.lists(st.tuples(st.sampled_from(list(EngagementKind)), st.booleans()), max_size=5)


@st.composite
def letters(draw: st.DrawFn) -> dict[str, Any]:
    status = draw(st.sampled_from([*Status, *[Status.SENT] * 5]))
    over = status not in (Status.PLANNED, Status.CLAIMED, Status.SENDING)
    return {
        "channel": draw(st.sampled_from(["email", "sms"])),
        "status": status,
        "reason": draw(st.sampled_from((None, *REASONS.get(status, ("rejected",))))),
        "ended": draw(st.sampled_from([timedelta(0), timedelta(minutes=5)])) if over else None,
        "sending": draw(st.booleans()),
        "token": draw(st.booleans()),
        "acts": draw(acts),
    }


@st.composite
def found_people(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "space": draw(st.sampled_from(["live", "live", "live", "dry_run"])),
        "campaign": draw(st.sampled_from(["browse", "cart", "win_back"])),
        "customer_id": draw(st.sampled_from(["p1", "p2", "p3"])),
        "entered_at": draw(moments),
        "arm": draw(st.sampled_from(["treated", "held_out"])),
        "messages": draw(st.lists(letters(), max_size=len(STEPS))),
    }


books = st.lists(found_people(), max_size=12)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("ledger")
        url = f"sqlite:///{folder}/ledger.db"
    else:
        url = request.getfixturevalue("kept_postgres")()
    migrate(url)
    ledger = Ledger.open(url)
    yield ledger
    ledger.close()


class _Undone(Exception):
    """Leaves nothing of an example."""


def write(conn: Any, book: list[dict[str, Any]]) -> None:
    """Write an example as it is: the combinations are more than jobs would make."""
    rows: dict[Table, list[dict[str, Any]]] = {entries: [], messages: [], engagements: []}
    for number, one in enumerate(book):
        id_, at, who = f"e{number}", one["entered_at"], one["customer_id"]
        where = {"space": one["space"], "campaign": one["campaign"], "customer_id": who}
        rows[entries].append({
            "id": id_, **where, "entry_key": id_, "sku": "", "anchor_at": at, "entered_at": at, "planned_at": at,
            "arm": one["arm"], "variant": "", "seen": "{}", "run_id": "r",
        })  # fmt: skip
        for step, letter in zip(STEPS, one["messages"], strict=False):
            message, ended = f"{id_}-{step}", letter["ended"]
            rows[messages].append({
                "id": message, "entry_id": id_, **where, "step": step, "step_no": 0, "channel": letter["channel"],
                "shard": 0, "priority": 1, "held_out": False, "status": letter["status"], "reason": letter["reason"],
                "send_at": at, "first_send_at": at, "expires_at": at, "token": "t" if letter["token"] else None,
                "sending_at": at if letter["sending"] else None, "attempt": 0, "deferrals": 0,
                "ended_at": None if ended is None else at + ended,
            })  # fmt: skip
            rows[engagements] += [
                {"id": f"{message}-{n}", "message_id": message, "kind": kind, "at": at, "received_at": at,
                 "machine": machine}
                for n, (kind, machine) in enumerate(letter["acts"])
            ]  # fmt: skip
    for table, of_table in rows.items():
        if of_table:
            conn.execute(insert(table), of_table)


def plainly(book: list[dict[str, Any]]) -> dict[str, Funnel]:
    """Count what the period holds, one message after the other."""
    found: dict[str, Funnel] = {}
    persons: set[tuple[str, str]] = set()
    for one in book:
        if one["space"] != "live" or not START <= one["entered_at"] < END:
            continue
        line = found.setdefault(one["campaign"], Funnel(one["campaign"]))
        line.found += 1
        line.found_held_out += one["arm"] == "held_out"
        for letter in one["messages"]:
            count_message(line, letter)
            if letter["status"] == "sent" and (one["campaign"], one["customer_id"]) not in persons:
                persons.add((one["campaign"], one["customer_id"]))
                line.recipients += 1
    return found


def count_message(line: Funnel, letter: dict[str, Any]) -> None:
    status, reason, after = letter["status"], letter["reason"], letter["ended"] != timedelta(0)
    line.messages += 1
    if after or letter["sending"] or letter["token"] or status == "cancelled":
        line.planned += 1
    else:
        line.refused[reason or status] = line.refused.get(reason or status, 0) + 1
        line.refused_expired += status == "expired"
    match str(status):
        case "planned" | "claimed" | "sending":
            line.open += 1
        case "unknown" | "presumed_lost":
            line.unknown += 1
        case "sent":
            line.sent += 1
            line.sent_by_channel[letter["channel"]] = line.sent_by_channel.get(letter["channel"], 0) + 1
        case "skipped" | "cancelled" as ended:
            reasons = getattr(line, ended)
            reasons[reason or ""] = reasons.get(reason or "", 0) + 1
        case other:
            setattr(line, other, getattr(line, other) + 1)
    for kind in {kind for kind, machine in letter["acts"] if not machine}:
        if kind in ("delivered", "clicked", "bounced", "complained", "unsubscribed"):
            setattr(line, kind, getattr(line, kind) + 1)


def persons_plainly(book: list[dict[str, Any]]) -> dict[str, Persons]:
    """Count the persons sent to in the period and the one before, by campaign and (under "") the whole shop's."""
    seen: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for one in book:
        sent = any(letter["status"] == "sent" for letter in one["messages"])
        if one["space"] == "live" and BEFORE <= one["entered_at"] < END and sent:
            seen[one["entered_at"] >= START] |= {(one["campaign"], one["customer_id"]), ("", one["customer_id"])}
    now, before = (Counter(campaign for campaign, _ in seen[later]) for later in (True, False))
    return {campaign: Persons(now[campaign], before[campaign]) for campaign in {"", *now, *before}}


@given(book=books)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_periods_counts_equal_counting_row_by_row(kept: Ledger, book: list[dict[str, Any]]) -> None:
    expected = plainly(book)
    people = {one["customer_id"] for one in book if one["space"] == "live" and START <= one["entered_at"] < END
              and any(letter["status"] == "sent" for letter in one["messages"])}  # fmt: skip
    with suppress(_Undone), kept.writing() as conn:
        write(conn, book)
        assert counts.funnel(conn, None, START, END) == expected
        cart = expected.get("cart", Funnel("cart"))
        assert counts.funnel(conn, ["cart"], START, END) == {"cart": cart}
        assert counts.recipients(conn, None, START, END) == len(people)
        assert counts.persons_sent_to(conn, BEFORE, START, END) == persons_plainly(book)
        raise _Undone
