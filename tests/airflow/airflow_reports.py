"""A report written by hand, with every verdict in it, for tests of the pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tidings.measure.figures import Arm, DayRevenue, Figures, Incremental, Report, Verdict

START = datetime(2026, 10, 23, 21, tzinfo=UTC)
END = datetime(2026, 11, 20, 22, tzinfo=UTC)


def incremental(total: int, low: int, high: int, verdict: Verdict = Verdict.PROVEN, **more: object) -> Incremental:
    persons = 10_000
    return Incremental(
        treated=Arm(persons, 900, 9_641_000),
        held_out=Arm(1_111, 80, 850_000),
        verdict=verdict,
        method="welch",
        difference=total / persons,
        low=low / persons,
        high=high / persons,
        p=0.01,
        total=total,
        total_low=low,
        total_high=high,
        **more,  # type: ignore[arg-type]
    )


def figures(campaign: str, title: str, numbers: tuple[int, ...], **more: object) -> Figures:
    found, planned, sent, delivered, clicked, orders, revenue, before = numbers
    left = planned - sent
    held = left // 4
    given: dict[str, object] = {
        "mode": "live",
        "held_out": held,
        "skipped": {"outranked": (left - held) // 2, "no_consent": left - held - (left - held) // 2},
        "sent_by_channel": {"email": sent - sent // 8, "sms": sent // 8},
        "unsubscribed": sent // 490,
        "recipients": int(sent * 0.7),
        "revenue_before": before,
        "orders_before": int(orders * 0.94),
        "recipients_before": int(sent * 0.69),
    }
    return Figures(
        campaign=campaign, title=title, found=found, planned=planned, sent=sent, delivered=delivered, clicked=clicked,
        orders=orders, revenue=revenue, **(given | more),
    )  # type: ignore[arg-type]  # fmt: skip


def report(**more: object) -> Report:
    campaigns = (
        figures(
            "cart_abandonment",
            "Cart abandonment",
            (18_420, 34_902, 27_614, 27_201, 3_842, 1_306, 9_641_000, 8_685_600),
            incremental=incremental(4_130_000, 2_890_000, 5_370_000),
        ),
        figures(
            "browse_abandonment",
            "Browse abandonment",
            (52_310, 52_310, 24_870, 24_516, 1_962, 402, 2_514_000, 2_417_000),
            incremental=incremental(390_000, -280_000, 1_060_000, Verdict.INCONCLUSIVE, smallest_effect=94.0),
        ),
        figures(
            "price_drop",
            "Price drop",
            (9_870, 9_870, 6_412, 6_330, 892, 318, 2_086_000, 1_753_000),
            incremental=incremental(1_210_000, 540_000, 1_880_000),
        ),
        figures(
            "back_in_stock",
            "Back in stock",
            (2_140, 2_140, 1_905, 1_889, 611, 296, 1_972_000, 2_033_000),
            incremental=incremental(1_490_000, 960_000, 2_020_000),
        ),
        figures(
            "win_back",
            "Win-back",
            (7_480, 14_960, 9_310, 9_102, 346, 58, 412_000, 468_000),
            incremental=incremental(-60_000, -370_000, 250_000, Verdict.INCONCLUSIVE),
            mode="paused",
        ),
    )
    totals = figures(
        "",
        "All campaigns",
        (90_220, 114_182, 70_111, 69_038, 7_653, 2_380, 16_625_000, 15_364_000),
        incremental=incremental(7_160_000, 5_480_000, 8_840_000),
        recipients=48_900,
        recipients_before=46_500,
        orders_before=2_243,
        held_out=10_980,
        skipped={
            "outranked": 9_214, "purchased": 2_406, "capped": 6_870, "no_consent": 4_512, "out_of_stock": 2_205,
            "price_returned": 1_034, "stale": 850,
        },
        cancelled={"purchased": 6_000},
    )  # fmt: skip
    first = datetime(2026, 10, 24, tzinfo=UTC).date()
    days = tuple(
        DayRevenue(
            first + timedelta(days=day), one.campaign, int(one.revenue / 28 * (0.7 + 0.1 * ((day * 5 + n) % 7))), 3
        )
        for day in range(28)
        for n, one in enumerate(campaigns)
    )
    given: dict[str, object] = {
        "shop": "fenmark",
        "zone": "Europe/Helsinki",
        "currency": "EUR",
        "currencies": ("EUR", "USD"),
        "start": START,
        "end": END,
        "before_start": START - timedelta(days=28),
        "as_of": datetime(2026, 11, 21, 7, tzinfo=UTC),
        "model": "Last touch, click 5 days",
        "holdouts": {one.campaign: 0.1 for one in campaigns},
        "campaigns": campaigns,
        "totals": totals,
        "days": days,
        "total_revenue": 61_000_000,
        "total_orders": 9_000,
        "alerts": ("Win-back SMS is paused: bounces reached 3.1% (limit 2.0%) on 18 Nov.",),
    }
    return Report(**(given | more))  # type: ignore[arg-type]
