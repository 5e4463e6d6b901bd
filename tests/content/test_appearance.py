"""Every default e-mail in a real browser: nothing wider than the phone, every word readable in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tidings.content.samples import edges
from tidings.content.templates import Library
from tidings.model.people import Channel, Customer

pytestmark = pytest.mark.slow
CHROMIUM = Path("/usr/bin/chromium")
# Returns the words whose colour stands out from what is behind them by less than 4.5 to 1.
UNREADABLE = """() => {
  const parts = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = parts(c).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const opaque = c => { const p = parts(c); return p.length === 3 || p[3] > 0; };
  const behind = e => { while (e && !opaque(getComputedStyle(e).backgroundColor)) e = e.parentElement;
    return e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)'; };
  const found = [];
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const e = words.currentNode.parentElement, text = words.currentNode.data.trim();
    const box = e.getBoundingClientRect();
    if (!text || !box.width || box.height < 8 || e.tagName === 'STYLE') continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(text);
  }
  return found; }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        )
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 640])
def test_every_email_fits_its_window_and_can_be_read(
    browser: Any, defaults: Library, context: Callable[..., dict[str, Any]], width: int, scheme: str
) -> None:
    long = next(sample for sample in edges(defaults.brand) if sample.name == "long product name")
    product = replace(long.offer.suggested[0], name="An extraordinarily long product name")
    page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page.route("**/*", lambda route: route.abort())

    for name in (name for name, channel in defaults.names() if channel is Channel.EMAIL):
        for products in ((), (product,), (replace(product, image=None),)):
            made = defaults.template(name, Channel.EMAIL).render(context(*products, customer=Customer("c")))
            page.set_content(made.html)
            assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, width)
            assert (name, page.evaluate(UNREADABLE)) == (name, [])
            ground = page.evaluate("getComputedStyle(document.querySelector('.paper')).backgroundColor")
            assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(29, 27, 25)")
    page.close()
