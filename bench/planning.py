"""Planning decisions from 10k to 1M entries, streamed: rate and peak memory, beside a yardstick of the same machine.

Run with ``python bench/planning.py [largest]``. The yardstick is what any planner has to do for such an entry:
one keyed hash of the address, one assignment hash, and one row per step, without a single decision.
"""

from __future__ import annotations

import hmac
import itertools
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import sha256

from table import Result, keep

from tidings.model.entry import Entry
from tidings.model.people import Channel, Customer
from tidings.plan.planner import CampaignPlan, PlannedMessage, PlanStep, plan
from tidings.plan.rules import DEFAULT_QUIET
from tidings.plan.timing import SendWindow

Work = Iterator[tuple[Entry, Customer]]

NOW = datetime(2026, 3, 8, 6, tzinfo=UTC)  # the night on which American clocks go forward
PLACES = (
    ("US", "FL", None), ("US", "CA", None), ("US", None, None), ("GB", None, "Europe/London"), ("DE", None, None),
    ("FR", None, None), ("AU", "NSW", None), ("FI", None, "Europe/Helsinki"), (None, None, None),
)  # fmt: skip
PHONES = {"US": "+1305555{:04d}", "GB": "+447400{:06d}", "DE": "+4915123{:06d}", "FR": "+336123{:05d}"}
PEPPER = b"a pepper for benchmarks"


def campaign(*channels: Channel) -> CampaignPlan:
    steps = tuple(
        PlanStep(f"step{no}", no, timedelta(hours=20 * no), channel, "t", timedelta(days=2), timedelta(hours=12))
        for no, channel in enumerate(channels, 1)
    )
    return CampaignPlan(
        "cart", steps, timedelta(days=7), "cart", PEPPER, "Europe/Helsinki", "FI",
        holdout=Fraction(1, 10), variants={"a": Fraction(1, 2), "b": Fraction(1, 2)}, priority=30,
        quiet=dict.fromkeys(Channel, DEFAULT_QUIET),
        window=SendWindow(datetime(2026, 1, 1, 9).time(), datetime(2026, 1, 1, 20).time()),  # noqa: DTZ001
    )  # fmt: skip


def found(entries: int) -> Work:
    """Yield entries with their customers, all different, spread over places and a day of the clock change."""
    dice = random.Random(1)
    for number in range(entries):
        country, region, zone = PLACES[number % len(PLACES)]
        phone = PHONES.get(country or "", "+35840123{:04d}").format(number % 10_000)
        name = f"c{number}"
        at = NOW - timedelta(seconds=dice.randrange(86_400))
        customer = Customer(
            name, f"{name}@mail{number % 997}.example.com", phone, country=country, region=region, zone=zone
        )
        yield Entry(f"{name}/1", name, at, at), customer


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):032x}"


def decide(work: Work, what: CampaignPlan) -> Counter[str]:
    counts: Counter[str] = Counter()
    new_id = ids()
    for entry, customer in work:
        for message in plan(entry, customer, what, NOW, new_id=new_id).messages:
            counts[message.status] += 1
    return counts


def bare(work: Work, what: CampaignPlan) -> int:
    rows = 0
    new_id = ids()
    for entry, customer in work:
        sha256(customer.id.encode()).digest()
        for step in what.steps:
            to = hmac.digest(PEPPER, (customer.email or "").encode(), "sha256").hex()
            at = entry.entered_at + step.after
            PlannedMessage(
                new_id(),
                step.name,
                step.no,
                step.channel,
                to,
                0,
                0,
                None,
                None,
                at,
                at,
                at,
                step.template,  # type: ignore[arg-type]
            )
            rows += 1
    return rows


def batches(entries: int, size: int = 10_000) -> Iterator[list[tuple[Entry, Customer]]]:
    stream = found(entries)
    while batch := list(itertools.islice(stream, size)):
        yield batch


def timed(entries: int, what: CampaignPlan, run: Callable[[Work, CampaignPlan], object]) -> float:
    """Return entries a second; making the input is not counted, and no more than one batch of it exists at once."""
    spent = 0.0
    for batch in batches(entries):
        start = time.process_time()
        run(iter(batch), what)
        spent += time.process_time() - start
    return entries / spent


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    series = {"e-mail": (Channel.EMAIL,), "e-mail and text": (Channel.EMAIL, Channel.SMS)}
    print(f"{'series':<18}{'entries':>10}{'entries/s':>12}{'bare rows/s':>13}{'ratio':>7}{'peak MB':>9}")
    for name, channels in series.items():
        what = campaign(*channels)
        # While a batch of the input is made, the one before it is still there: two before anything is measured.
        timed(20_000, what, decide)
        peaks = []
        for entries in (size for size in (10_000, 100_000, 1_000_000) if size <= largest):
            rate = timed(entries, what, decide)
            yardstick = timed(min(entries, 100_000), what, bare)
            print(f"{name:<18}{entries:>10,}{rate:>12,.0f}{yardstick:>13,.0f}{rate / yardstick:>7.2f}{peak():>9.0f}")
            peaks.append(peak())
        seen = f"{rate / yardstick:.2f} of a bare row each"
        keep(
            [
                Result(f"planning decisions, {name}, {entries:,} entries", rate / 1000, 100, 50, seen, unit="k/s"),
                Result(f"memory of planning, {name}, {entries:,} entries against 10,000", peaks[-1] / peaks[0], 1.2,
                       None, f"{peaks[0]:.0f} MB, {peaks[-1]:.0f} MB", most=True),
            ]
        )  # fmt: skip


if __name__ == "__main__":
    main()
