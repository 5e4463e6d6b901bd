"""The pages inside a real Airflow API server, with strangers, a viewer and a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_live import AIRFLOW, clean_environment, token
from conftest import environment

from tidings.demo.processes import Services, free_port

pytestmark = pytest.mark.slow
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATHS = (
    "", "?days=7", "dag?dag_id=price_drop", "campaign/price_drop", "how-we-count", "campaigns.csv",
    "static/dashboard.css", "static/plotly.js", "static/icon.svg",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(filled_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API server that shows the filled project."""
    home = tmp_path_factory.mktemp("live")
    port = free_port(0)
    env = clean_environment() | environment(home, filled_project / "dags", port)
    for words in (("db", "migrate"), ("dags", "reserialize")):
        subprocess.run([*AIRFLOW, *words], env=env, check=True, capture_output=True, timeout=180)
    with Services(home / "logs") as services:
        services.start("api-server", [*AIRFLOW, "api-server"], env, home)
        services.wait_for("api-server", f"http://127.0.0.1:{port}/api/v2/version", 180)
        yield f"http://127.0.0.1:{port}"


def _status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def _json(url: str, bearer: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_stranger_gets_401_everywhere(server: str):
    assert {path: _status(f"{server}/campaigns/{path}") for path in PATHS} == dict.fromkeys(PATHS, 401)
    forged = {path: _status(f"{server}/campaigns/{path}", Authorization="Bearer x.y.z") for path in PATHS}
    assert set(forged.values()) <= {401, 403}
    assert [_status(f"{server}/campaigns/{path}") for path in ("docs", "redoc", "openapi.json")] == [404, 404, 404]


def test_a_viewer_sees_every_page(server: str):
    bearer = token(server, "crm")

    found = {path: _status(f"{server}/campaigns/{path}", Authorization=f"Bearer {bearer}") for path in PATHS}

    assert found == dict.fromkeys(PATHS, 200)


def test_airflow_knows_the_dags_and_the_connection_forms(server: str):
    bearer = token(server, "admin")

    dags = {dag["dag_id"]: dag for dag in _json(f"{server}/api/v2/dags?limit=50", bearer)["dags"]}
    forms = {form["connection_type"]: form for form in _json(f"{server}/ui/connections/hook_meta", bearer)}

    assert {"cart_abandonment", "dispatch", "measure"} <= dags.keys()
    assert dags["cart_abandonment"]["dag_display_name"] == "Cart abandonment"
    assert _json(f"{server}/api/v2/importErrors", bearer)["total_entries"] == 0
    assert forms["tidings_sendgrid"]["standard_fields"]["password"]["title"] == "API key"
    assert "webhook_auth_token" in forms["tidings_twilio"]["extra_fields"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as made:
        found = made.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def reader(browser: Any, server: str) -> Iterator[Any]:
    """A page of a viewer who has logged in, with what the console said."""
    context = browser.new_context(viewport={"width": 1280, "height": 1700}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.said = []
    page.goto(f"{server}/")
    page.fill("input[name=username]", "crm")
    page.fill("input[name=password]", "crm")
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    page.on("console", lambda told: page.said.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda told: page.said.append(str(told)))
    yield page
    context.close()


def _inside(page: Any, part: str) -> Any:
    """Return the frame of our page once its chart is drawn."""
    page.wait_for_function(f"[...document.querySelectorAll('iframe')].some(one => one.src.includes('{part}'))")
    frame = next(one for one in page.frames if one is not page.main_frame)
    frame.wait_for_selector("#day-chart .plot-container")
    return frame


def _totals(frame: Any) -> dict[str, int]:
    pairs = frame.evaluate(
        "[...document.querySelectorAll('[data-metric]')].map(e => [e.dataset.metric, e.dataset.value])"
    )
    return {name: int(value) for name, value in pairs if value}


def _reported(folder: Path) -> Any:
    command = [
        sys.executable,
        "-c",
        "from tidings.cli import main; main()",
        "report",
        "--json",
        "--project",
        str(folder),
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


def test_the_totals_in_the_browser_are_those_of_the_report(reader: Any, filled_project: Path, tmp_path: Path):
    reader.click("text=Campaigns")
    frame = _inside(reader, "/campaigns/")

    told = _reported(filled_project)
    totals = told["totals"]
    shown = _totals(frame)
    assert shown == {
        "revenue": totals["revenue"], "incremental": totals["incremental"]["total"], "orders": totals["orders"],
        "sent": totals["sent"], "clicked": totals["clicked"], "unsubscribed": totals["unsubscribed"],
    }  # fmt: skip
    rows = frame.evaluate(
        "[...document.querySelectorAll('[data-campaign]')]"
        ".map(e => [e.dataset.campaign, +e.querySelector('.revenue').dataset.value])"
    )
    assert dict(rows) == {one["campaign"]: one["revenue"] for one in told["campaigns"]}
    assert shown["revenue"] > 0
    assert reader.said == []
    reader.screenshot(path=str(tmp_path / "overview.png"))


def test_the_revenue_tab_shows_its_own_campaign(reader: Any, server: str, filled_project: Path):
    reader.goto(f"{server}/dags/price_drop")
    reader.click("text=Revenue")
    frame = _inside(reader, "/campaigns/dag")

    told = {one["campaign"]: one for one in _reported(filled_project)["campaigns"]}["price_drop"]
    assert frame.inner_text("h1") == "Price drop"
    assert _totals(frame)["revenue"] == told["revenue"]
    assert frame.inner_text("td.strong") == f"€{told['incremental']['treated']['per_person'] / 100:.2f}"
    assert reader.said == []


def test_the_page_follows_airflows_light_and_dark(reader: Any, server: str):
    reader.goto(f"{server}/plugin/campaigns")
    frame = _inside(reader, "/campaigns/")

    def canvas() -> str:
        return str(frame.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert canvas() == "rgb(255, 255, 255)"
    reader.evaluate("document.documentElement.className = 'dark'")
    frame.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert canvas() == "rgb(22, 29, 45)"


def test_the_table_sorts_in_place_and_says_so(reader: Any, server: str):
    reader.goto(f"{server}/plugin/campaigns")
    frame = _inside(reader, "/campaigns/")

    frame.click("th button[data-key=title]")
    order = frame.evaluate("[...document.querySelectorAll('[data-campaign]')].map(e => e.dataset.campaign)")
    assert order == sorted(order)
    assert frame.get_attribute(".campaigns th:first-child", "aria-sort") == "ascending"
    assert "sort=title" in frame.evaluate("location.href")

    frame.click("text=View as table")
    assert frame.is_visible("#day-table")
    assert not frame.is_visible("#day-chart")


def test_a_phone_needs_no_sideways_scrolling(reader: Any, server: str):
    reader.set_viewport_size({"width": 390, "height": 844})
    for path in ("/plugin/campaigns", "/dags/price_drop/plugin/revenue"):
        reader.goto(f"{server}{path}")
        frame = _inside(reader, "/campaigns/")
        wide, room = frame.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room
        small = frame.evaluate(
            "[...document.querySelectorAll('select, .tabs a, .campaigns th a')]"
            ".map(e => [e.getBoundingClientRect().height, e.outerHTML]).filter(([tall]) => tall && tall < 36)"
        )
        assert small == []


def test_every_text_can_be_read_in_light_and_dark(reader: Any, server: str):
    """4.5:1 for every text against what lies behind it."""
    reader.goto(f"{server}/plugin/campaigns")
    frame = _inside(reader, "/campaigns/")

    for theme in ("light", "dark"):
        reader.evaluate(f"document.documentElement.className = '{theme}'")
        frame.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
        assert frame.evaluate(TOO_FAINT) == []


TOO_FAINT = """() => {
  const channel = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(channel);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c !== 'rgba(0, 0, 0, 0)') return c;
    }
    return 'rgb(255,255,255)';
  };
  const told = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll('main *, header *')]
    .filter((e) => told(e) && !e.closest('svg, script, select, .unseen, .plot') && e.getClientRects().length)
    .map((e) => {
      const [one, other] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
      return [(one + .05) / (other + .05), `${e.tagName} ${e.textContent.trim().slice(0, 30)}`];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""
