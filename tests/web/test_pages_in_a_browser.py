"""A person with a browser and no script unsubscribes and comes back; the pages fit a telephone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from tidings.ledger import schema
from tidings.web.public import public_app

MAIL = "0a" * 16
CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.fixture
def service(shop: Any) -> Iterator[Any]:
    config = uvicorn.Config(
        public_app(shop.opened), host="127.0.0.1", port=urlsplit(shop.base).port or 0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield shop
    server.should_exit = True
    thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_unsubscribes_and_subscribes_again(service: Any, scheme: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    shop, signer = service, service.opened.signer
    shots = Path(os.environ.get("TIDINGS_SHOTS", tmp_path))
    with sync_api.sync_playwright() as made:
        browser = made.chromium.launch(executable_path=str(CHROMIUM), args=_FLAGS)
        context = browser.new_context(
            viewport={"width": 390, "height": 844}, color_scheme=scheme, java_script_enabled=False
        )
        page = context.new_page()

        page.goto(f"{shop.base}/u/{signer.unsubscribe(MAIL)}")
        page.screenshot(path=shots / f"confirm-{scheme}.png", full_page=True)
        assert shop.closed() == set()
        page.get_by_role("button", name="Yes, stop them").click()
        assert page.get_by_role("heading", level=1).inner_text() == "You are unsubscribed"
        assert ("a", "email", "unsubscribed") in shop.closed()

        page.goto(f"{shop.base}/p/{signer.preferences(MAIL)}")
        assert page.get_by_role("checkbox").count() == 0
        page.get_by_role("button", name="Show my choices").click()
        group = page.get_by_role("group", name="Fenmark may send me by e-mail")
        news = group.get_by_label("News, offers and reminders")
        assert not news.is_checked()
        page.keyboard.press("Tab")
        news.focus()
        page.keyboard.press("Space")
        page.screenshot(path=shots / f"choices-{scheme}.png", full_page=True)
        page.get_by_role("button", name="Save my choices").click()
        assert page.get_by_role("status").inner_text().strip() == "Your choices are saved."
        assert page.get_by_role("group").first.get_by_label("News, offers and reminders").is_checked()
        page.screenshot(path=shots / f"saved-{scheme}.png", full_page=True)
        # Without a script in the page, the browser's own ruler still works from outside.
        wide = context.new_cdp_session(page).send("Page.getLayoutMetrics")["cssContentSize"]["width"]
        assert wide <= 390
        browser.close()

    lifted = [row for row in shop.rows(schema.suppressions) if row["lifted_at"] and row["lifted_at"] > row["at"]]
    assert {row["subject"][0] for row in lifted} == {"a", "p"}
    (row,) = [row for row in shop.rows(schema.consents) if row["granted"]]
    assert (row["purpose"], row["message_id"]) == ("marketing", MAIL)
