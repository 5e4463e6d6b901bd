"""The revenue pages: what a figure says, and that nothing in a report can harm its reader."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from airflow_reports import figures, incremental, report
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient

from tidings.errors import LedgerError
from tidings.measure.figures import Arm, Incremental, Report, Verdict
from tidings.web import dashboard_marks as marks
from tidings.web import dashboard_words as words
from tidings.web.dashboard import dashboard_app
from tidings.web.dashboard_recent import Recent

Client = Callable[..., TestClient]


@pytest.fixture
def pages() -> Client:
    """Call it with a report for a client of its pages under /campaigns."""

    def client(found: Report | None = None, **given: object) -> TestClient:
        app = FastAPI()
        shown = found or report()
        app.mount(
            "/campaigns", dashboard_app(lambda days, currency: shown, **{"guards": [], "dag_guards": [], **given})
        )
        return TestClient(app)

    return client


def test_the_totals_are_the_reports(pages: Client):
    page = pages().get("/campaigns/").text

    assert re.findall(r'data-metric="(\w+)" data-value="(-?\d*)"', page) == [
        ("revenue", "16625000"), ("incremental", "7160000"), ("orders", "2380"), ("sent", "70111"),
        ("clicked", "7653"), ("unsubscribed", "143"),
    ]  # fmt: skip
    assert "€166,250" in page
    assert "95% interval €54,800 to €88,400" in page
    assert "For every €1.00 attributed, about €0.43 was caused by the messages (€0.33 to €0.53)." in page


def test_an_interval_that_contains_zero_is_called_inconclusive_and_claims_nothing(pages: Client):
    page = pages().get("/campaigns/campaign/browse_abandonment").text

    assert "Inconclusive" in page
    assert "was caused by the messages" not in page
    assert 'class="dot hollow"' in page
    assert "stroke-dasharray" in page


@pytest.mark.parametrize(
    ("found", "words_"),
    [
        (None, "Not measured"),
        (Incremental(Arm(9, 1, 2), Arm(0, 0, 0), Verdict.NOT_MEASURED), "Not measured"),
        (Incremental(Arm(9, 1, 2), Arm(4, 1, 2), Verdict.NOT_ENOUGH), "Not enough data"),
        (incremental(9_000, 1_000, 17_000, suspect=True), "Check the split"),
    ],
    ids=["nothing", "no holdout", "few buyers", "arms that do not fit"],
)
def test_what_is_not_proven_is_named(pages: Client, found: Incremental | None, words_: str):
    numbers = (100, 100, 80, 79, 10, 3, 9_900, 0)
    one = figures("a", "A", numbers, incremental=found)

    for path in ("/", "/campaign/a"):
        page = pages(report(campaigns=(one,), totals=one, days=())).get(f"/campaigns{path}").text
        assert words_ in page
        assert "was caused by the messages" not in page


def test_a_title_with_markup_is_text(pages: Client):
    one = figures("a", "</script><img src=x onerror=alert(1)>", (1, 1, 1, 1, 1, 1, 1, 1), incremental=None)
    given = report(campaigns=(one,), totals=one, days=(), alerts=("<b>x</b>: `<i>`",))

    for path in ("/", "/campaign/a", "/dag?dag_id=a"):
        page = pages(given).get(f"/campaigns{path}").text
        assert "<img src=x" not in page
        assert "<b>x</b>" not in page
        assert "<code>&lt;i&gt;</code>" in page


def test_pages_need_no_inline_style_or_script(pages: Client):
    client = pages()

    for path in ("/", "/campaign/price_drop", "/dag?dag_id=measure", "/how-we-count"):
        answer = client.get(f"/campaigns{path}")
        assert "style=" not in answer.text
        assert not re.search(r"<script(?![^>]*(src=|application/json))", answer.text)
        assert not re.search(r"\son\w+=", answer.text)
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_dag_tab_answers_for_every_dag(pages: Client):
    client = pages()

    assert "€20,860" in client.get("/campaigns/dag?dag_id=price_drop").text
    assert "This DAG sends what all campaigns have planned." in client.get("/campaigns/dag?dag_id=dispatch").text
    other = client.get("/campaigns/dag?dag_id=somebody_elses")
    assert (other.status_code, "No campaign has this name" in other.text) == (200, True)
    assert client.get("/campaigns/dag").status_code == 200
    assert client.get("/campaigns/campaign/somebody_elses").status_code == 404


def test_the_table_is_sorted_as_the_address_says(pages: Client):
    client = pages()

    def order(query: str) -> list[str]:
        return re.findall(r'data-campaign="(\w+)"', client.get(f"/campaigns/?{query}").text)

    assert order("sort=title")[0] == "back_in_stock"
    assert order("sort=-found")[0] == "browse_abandonment"
    assert order("sort=incremental")[0] == "win_back"
    assert order("sort=nonsense") == order("")
    assert order("")[0] == "cart_abandonment"


@pytest.mark.parametrize(
    "query",
    ["days=5", "days=-1", "days=abc", "currency=euro", "page=99999", "page=0", "sort=-__class__", "currency=%00%00%00"],
)
def test_an_address_that_makes_no_sense_shows_the_default(pages: Client, query: str):
    answer = pages().get(f"/campaigns/?{query}")

    assert answer.status_code == 200
    assert '<option value="28" selected>' in answer.text


def test_a_hundred_campaigns_come_fifty_a_page(pages: Client):
    many = tuple(figures(f"c{n}", f"C {n}", (9, 9, 8, 8, 4, 1, n, n), incremental=None) for n in range(120))
    client = pages(report(campaigns=many))

    assert client.get("/campaigns/").text.count("data-campaign=") == 50
    last = client.get("/campaigns/?page=3").text
    assert last.count("data-campaign=") == 20
    assert "Page 3 of 3" in last
    assert '"name": "Other"' in last


def test_the_file_has_the_tables_rows_raw_and_no_formula(pages: Client):
    risky = figures("a", "=HYPERLINK(1)", (1, 1, 1, 1, 1, 1, 12_345, 1), incremental=None)
    answer = pages(report(campaigns=(risky,))).get("/campaigns/campaigns.csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["title"] for row in rows] == ["'=HYPERLINK(1)", "All campaigns"]
    assert rows[0]["revenue"] == "12345"
    assert answer.headers["content-disposition"].startswith("attachment;")


def test_the_reasons_and_the_funnel_add_up(pages: Client):
    page = pages().get("/campaigns/").text

    assert "They bought before we wrote" in page
    assert ">8,406<" in page  # skipped and cancelled for the same reason are one
    assert "33,091 messages" in page
    assert "9.6% of planned" in page


def test_an_empty_shop_says_what_to_do(pages: Client):
    page = pages(report(campaigns=())).get("/campaigns/").text

    assert "A campaign is a file in" in page


def test_trouble_says_what_still_works(pages: Client):
    def broken(days: int, currency: str | None) -> Report:
        raise LedgerError("ledger: must be migrated to 0003 with `tidings migrate`; found 0002")

    app = FastAPI()
    app.mount("/campaigns", dashboard_app(broken, guards=[], dag_guards=[]))
    answer = TestClient(app).get("/campaigns/")

    assert answer.status_code == 503
    assert "tidings migrate" in answer.text
    assert "Planning and sending go on" in answer.text


def test_every_path_asks_the_guards(pages: Client):
    def refuse() -> None:
        raise HTTPException(401)

    client = pages(guards=[Depends(refuse)])
    paths = ("", "campaigns.csv", "how-we-count", "dag?dag_id=a", "campaign/a", "static/icon.svg", "static/plotly.js")

    assert [client.get(f"/campaigns/{path}").status_code for path in paths] == [401] * len(paths)
    assert [client.get(f"/campaigns/{path}").status_code for path in ("docs", "redoc", "openapi.json")] == [404] * 3


def test_plotly_comes_from_the_installed_package_and_is_kept(pages: Client):
    answer = pages().get("/campaigns/static/plotly.js")

    assert answer.status_code == 200
    assert "plotly.js v" in answer.text[:200]
    assert "immutable" in answer.headers["cache-control"]
    assert pages().get("/campaigns/static/..%2fdashboard.py").status_code == 404


def test_the_chart_has_every_day_of_the_period(pages: Client):
    told = json.loads(re.search(r'id="day-data">(.*?)</script>', pages().get("/campaigns/").text).group(1))  # type: ignore[union-attr]

    assert (told["days"][0], told["days"][-1], len(told["days"])) == ("2026-10-24", "2026-11-20", 28)
    assert [one["name"] for one in told["series"]][:2] == ["Back in stock", "Browse abandonment"]


def test_a_campaign_keeps_its_colour_when_another_leaves_the_top(pages: Client):
    found = report()

    def colour(shown: Report) -> str:
        page = pages(shown).get("/campaigns/").text
        return re.search(r'data-campaign="price_drop">.*?swatch (c\d)', page, re.S).group(1)  # type: ignore[union-attr]

    richer = tuple(replace(one, revenue=one.revenue + 9**9 * (one.campaign == "price_drop")) for one in found.campaigns)
    assert colour(found) == colour(replace(found, campaigns=richer)) == "c4"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(12_345, "EUR", "€123"), (420, "EUR", "€4.20"), (-60_000, "EUR", "−€600"), (0, "EUR", "€0.00"),
     (9_999, "EUR", "€99.99"), (1_234, "JPY", "¥1,234"), (123_456_789, "USD", "$1,234,568"), (500, "SEK", "SEK 5.00")],
)  # fmt: skip
def test_money_is_written_the_way_people_read_it(minor: int, currency: str, text: str):
    assert words.money(minor, currency) == text


def test_a_pair_never_leaves_its_picture():
    one = incremental(-500, -9_000, 70_000)
    scale = marks.Scale.around([1_000.0, one.total, one.total_low, one.total_high])

    drawn = marks.pair(1_000, one, scale, "x")

    assert all(0 <= float(at) <= 100 for at in re.findall(r'(?:x|x1|x2|cx|width)="([\d.-]+)%"', drawn))


def test_a_report_that_took_long_is_read_once_for_whoever_comes_soon_after():
    now, reads = [0.0], []

    def read(days: int, currency: str | None) -> Report:
        reads.append((days, currency))
        now[0] += 1
        return report()

    recent = Recent(read, clock=lambda: now[0])

    for seconds in (0, 10, 19, 21):
        now[0] = 1 + seconds if reads else 0
        recent(28, None)
    recent(7, None)
    assert reads == [(28, None), (28, None), (7, None)]


def test_a_report_that_could_not_be_read_is_tried_again():
    tries = []

    def read(days: int, currency: str | None) -> Report:
        tries.append(days)
        if len(tries) == 1:
            raise LedgerError("ledger: must be there; found nothing")
        return report()

    recent = Recent(read)

    with pytest.raises(LedgerError):
        recent(28, None)
    assert recent(28, None).shop == "fenmark"


def test_the_static_files_are_small_enough_for_a_phone(pages: Client):
    assert len(gzip.compress(pages().get("/campaigns/static/dashboard.css").content)) < 6_000
