"""The demo shop: the same for the same seed, and full enough that every trigger fires every day."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email

from tidings.demo.shop import DemoShop, Plan, create
from tidings.warehouse import mapping

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
START = NOW - timedelta(days=28)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.parquet")):
        found.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return found.hexdigest()


def test_the_same_seed_and_moment_make_the_same_files(tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        create(tmp_path / name, now=NOW, plan=Plan(seed=seed, customers=400))

    assert _digest(tmp_path / "one") == _digest(tmp_path / "two")
    assert _digest(tmp_path / "one") != _digest(tmp_path / "three")


def test_nothing_the_shop_knows_lies_behind_now_but_broken_device_clocks(sql):
    later = sql.execute("SELECT count(*) FROM sales WHERE placed_at > ?", [NOW]).fetchone()
    future = sql.execute("SELECT count(*), count(*) FILTER (collected_at > $1) FROM clickstream WHERE ts > $1", [NOW])

    assert later == (0,)
    dated, collected = future.fetchone()
    assert dated > 0
    assert collected == 0


def test_what_comes_next_waits_outside_the_warehouse(demo_folder, demo_shop, sql):
    pending = sql.read_parquet(f"{demo_folder}/pending/clickstream.parquet")

    first, count = pending.aggregate("min(collected_at), count(*)").fetchone()
    assert first > NOW
    assert count > 100


def test_customers_live_on_four_continents_and_write_in_many_scripts(sql):
    continents = {zone.split("/")[0] for (zone,) in sql.execute("SELECT DISTINCT tz FROM accounts").fetchall()}
    names = "".join(name for (name,) in sql.execute("SELECT DISTINCT given_name FROM accounts").fetchall())

    assert continents >= {"Europe", "America", "Asia", "Australia", "Pacific"}
    assert all(any(low <= letter <= high for letter in names) for low, high in ("az", "αω", "ая", "一龥", "가힣", "اي"))


def test_most_addresses_are_good_and_some_are_missing_or_broken(sql):
    mails = [mail for (mail,) in sql.execute("SELECT mail FROM accounts").fetchall()]
    phones = sql.execute("SELECT mobile, country FROM accounts WHERE mobile IS NOT NULL").fetchall()

    good = sum(mail is not None and _is_mail(mail) for mail in mails)
    valid = sum(_is_phone(*phone) for phone in phones)
    assert 0.93 < good / len(mails) < 0.97
    assert 0 < mails.count(None) / len(mails) < 0.06
    assert 0.9 < valid / len(phones) < 1


def _is_mail(mail: str) -> bool:
    try:
        validate_email(mail, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _is_phone(phone: str, country: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(phone, country))
    except phonenumbers.NumberParseException:
        return False


@pytest.mark.parametrize(
    ("dirt", "query"),
    [
        ("told twice", "SELECT count(*) - count(DISTINCT uid) FROM clickstream"),
        ("late", "SELECT count(*) FROM clickstream WHERE collected_at > ts + INTERVAL 1 HOUR"),
        ("future-dated", "SELECT count(*) FROM clickstream WHERE ts > collected_at + INTERVAL 1 DAY"),
        ("price 0", "SELECT count(*) FROM clickstream WHERE unit_price = 0"),
        ("unknown product", "SELECT count(*) FROM clickstream WHERE article LIKE 'GONE%'"),
        ("truncated", "SELECT count(*) FROM clickstream WHERE article IS NULL"),
        ("without currency", "SELECT count(*) FROM clickstream WHERE ccy IS NULL"),
    ],
)
def test_the_click_stream_is_dirty_in_small_shares(sql, dirt, query):
    rows = sql.execute("SELECT count(*) FROM clickstream").fetchone()[0]
    found = sql.execute(query).fetchone()[0]

    assert 0 < found < rows * 0.02, dirt


@pytest.mark.parametrize(
    ("trigger", "at_least_a_day", "quiet_days", "query"),
    [
        (
            "cart abandonment",
            3,
            0,
            """SELECT date_trunc('day', t) AS day, count(*) FROM (
                   SELECT basket, max(account_no) AS who, max(ts) AS t FROM clickstream
                   WHERE basket IS NOT NULL AND action <> 'view' AND ts < $now GROUP BY basket) AS cart
               WHERE NOT EXISTS (SELECT 1 FROM sales WHERE account_no = who AND placed_at >= t - INTERVAL 10 MINUTE
                                 AND placed_at < t + INTERVAL 1 HOUR) AND who IS NOT NULL GROUP BY day""",
        ),
        (
            "browse abandonment",
            4,
            0,
            """SELECT date_trunc('day', min_ts) AS day, count(*) FROM (
                   SELECT account_no, style, visit, min(ts) AS min_ts FROM clickstream
                   WHERE action = 'view' AND account_no IS NOT NULL AND ts < $now GROUP BY ALL HAVING count(*) > 1)
               GROUP BY day""",
        ),
        (
            "back in stock",
            2,
            6,
            """SELECT date_trunc('day', back.observed_at) AS day, count(*) FROM stock_requests AS r
               JOIN stock AS out ON out.sku = r.sku AND out.quantity = 0 AND out.observed_at <= r.requested_at
               JOIN stock AS back ON back.sku = r.sku AND back.quantity > 5 AND back.observed_at > r.requested_at
               WHERE back.observed_at BETWEEN $start AND $now GROUP BY day""",
        ),
        (
            "price drop",
            2,
            12,
            """SELECT date_trunc('day', since) AS day, count(DISTINCT account_no) FROM price_book AS p
               JOIN clickstream AS e ON e.article = p.article AND e.site = p.site AND e.ts < p.since
               WHERE list_or_promo = 'P' AND since BETWEEN $start AND $now AND account_no IS NOT NULL GROUP BY day""",
        ),
        (
            "win-back after 90 days",
            3,
            3,
            """SELECT date_trunc('day', last + INTERVAL 90 DAY) AS day, count(*) FROM (
                   SELECT account_no, max(placed_at) AS last FROM sales
                   WHERE account_no IS NOT NULL AND state IN ('paid', 'open') AND placed_at < $now GROUP BY account_no)
               GROUP BY day""",
        ),
    ],
)
def test_every_trigger_has_something_to_find_steadily(sql, trigger, at_least_a_day, quiet_days, query):
    given = {name: value for name, value in (("now", NOW), ("start", START)) if f"${name}" in query}
    per_day = dict(sql.execute(query, given).fetchall())

    whole_days = [START + timedelta(days=n) for n in range(3, 28)]
    found = [per_day.get(day.replace(hour=0), 0) for day in whole_days]
    assert sum(n < at_least_a_day for n in found) <= quiet_days, (trigger, found)


def test_reductions_and_restocks_also_come_while_somebody_watches(sql):
    reduced = sql.execute(
        "SELECT count(*) FROM price_book WHERE since > ? AND since < ?", [NOW - timedelta(hours=1), NOW]
    )
    assert reduced.fetchone()[0] > 0

    back = sql.execute("SELECT count(*) FROM stock WHERE observed_at > ?", [NOW - timedelta(minutes=20)])
    assert back.fetchone()[0] > 0


def test_the_price_book_has_neither_gap_nor_overlap(sql):
    wrong = sql.execute(
        """SELECT count(*) FROM (SELECT until, lead(since) OVER (PARTITION BY article, site ORDER BY since) AS next
           FROM price_book) WHERE next IS NOT NULL AND until IS DISTINCT FROM next"""
    )

    assert wrong.fetchone() == (0,)


def test_what_was_seen_is_what_the_price_book_says(sql):
    wrong = sql.execute(
        """SELECT count(*) FROM clickstream AS e JOIN price_book AS p ON p.article = e.article AND p.site = e.site
           AND e.ts >= p.since AND (e.ts < p.until OR p.until IS NULL)
           WHERE e.unit_price > 0 AND e.unit_price <> p.amount AND e.ts <= e.collected_at"""
    )

    assert wrong.fetchone() == (0,)


def test_an_order_is_the_sum_of_its_lines(sql):
    wrong = sql.execute(
        """SELECT count(*) FROM sales JOIN (SELECT sale_no, sum(amount) AS lines FROM sales_lines GROUP BY sale_no)
           USING (sale_no) WHERE total <> lines"""
    )

    assert wrong.fetchone() == (0,)


def test_orders_are_paid_in_four_currencies_over_a_year(sql):
    currencies, first = sql.execute("SELECT count(DISTINCT ccy), min(placed_at) FROM sales").fetchone()

    assert currencies == 4
    assert NOW - first > timedelta(days=360)


def test_the_mapping_names_every_table_of_the_shop(demo_shop: DemoShop):
    mapped = mapping.load(Path(mapping.__file__).parents[1] / "demo" / "warehouse.yaml")

    assert set(mapped.database.files) == {folder.name for folder in demo_shop.warehouse.iterdir()}
    assert len(mapped.mapped()) == 14


def test_a_reader_meets_either_the_old_file_or_the_new(demo_shop: DemoShop):
    assert not list(demo_shop.warehouse.rglob("*.half"))
    assert duckdb.read_parquet(f"{demo_shop.warehouse}/stock/*.parquet").aggregate("count(*)").fetchone()[0] > 0
