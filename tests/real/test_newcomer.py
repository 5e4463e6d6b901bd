"""A newcomer maps a headerless click stream of epoch seconds without a currency, from docs/warehouse.md alone."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOON = 1_433_160_000  # 2015-06-01T12:00:00Z
# Who comes at which minute before noon, does what, with what: carts left at 61, 60 and 59 minutes, one bought.
TOLD = [
    (90, "v1", "view", "100"), (61, "v1", "addtocart", "100"),
    (60, "v2", "addtocart", "200"),
    (59, "v3", "addtocart", "300"),
    (95, "v4", "addtocart", "400"), (80, "v4", "transaction", "400"),
    (99, "v5", "view", "500"), (98, "v5", "view", "500"), (97, "v5", "search", "500"),
]  # fmt: skip
SHOP = """\
shop: newcomer
brand: {name: Newcomer, legal_name: Newcomer Ltd, postal_address: "1 Market Street, London, United Kingdom",
        url: "https://shop.example", zone: Europe/London, currency: GBP, country: GB}
public_url: https://t.shop.example
senders: {email: {from: hello@shop.example}}
"""
CAMPAIGN = """\
id: {name}
detect: {{type: {name}, idle: 1h{more}}}
schedule: "*/15 * * * *"
steps:
  - {{name: reminder, channel: email, template: {name}/reminder}}
"""


def documented(heading: str) -> dict[str, object]:
    """Return the example below a heading of the documentation."""
    text = (ROOT / "docs/warehouse.md").read_text(encoding="utf-8")
    part = text.split(f"### {heading}", 1)[1]
    found: dict[str, object] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)[0])
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation's example, without the amounts as it says, over a generated file."""
    folder = tmp_path_factory.mktemp("newcomer")
    mapping = documented("Times as seconds since 1970, a CSV without a header line, no currency")
    files, tables = mapping["database"]["files"], mapping["tables"]  # type: ignore[index]
    files["visits"] |= {"csv": "visits.csv", "columns": ["ts", "visitor", "event", "item", "transaction"]}
    for name, amount, at in (("product_events", "price", "occurred_at"), ("orders", "total", "ordered_at")):
        columns = tables[name]["columns"]
        del columns[amount], columns["currency"]
        columns[at]["epoch"] = "s"
    rows = [(NOON - 60 * ago, who, what, item) for ago, who, what, item in TOLD]
    rows += [(NOON - 60 * 24 * 60 - number, f"x{number}", "view", "7") for number in range(5_000)]
    random.Random(3).shuffle(rows)
    lines = [f"{ts},{who},{what},{item},{'t1' if what == 'transaction' else ''}" for ts, who, what, item in rows]
    (folder / "visits.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "triggers").mkdir()
    for name, more in (("cart_abandonment", ""), ("browse_abandonment", ", minimum_views: 2")):
        (folder / f"triggers/{name}.yaml").write_text(CAMPAIGN.format(name=name, more=more), encoding="utf-8")
    (folder / "tidings.yaml").write_text(SHOP, encoding="utf-8")
    (folder / "warehouse.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    shutil.copytree(ROOT / "message_templates", folder / "message_templates")
    return folder


@pytest.fixture
def tidings(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command in the project's folder."""
    program = Path(sys.executable).with_name("tidings")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *words], cwd=project, capture_output=True, text=True, timeout=120, check=False)

    return call


def test_check_finds_nothing_wrong_with_it(tidings: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = tidings("check")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "  ok     warehouse.yaml" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "No errors. 2 are ready."


def test_detect_finds_the_carts_that_were_left_alone_for_an_hour_or_longer(
    tidings: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = tidings("detect", "cart_abandonment", "--as-of", "2015-06-01T12:00Z", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["count"], found["customers"]) == (2, 2)
    assert {one["customer_id"] for one in found["examples"]} == {"v1", "v2"}


def test_detect_finds_who_only_looked(tidings: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = tidings("detect", "browse_abandonment", "--as-of", "2015-06-01T12:00Z")

    assert (done.returncode, done.stderr) == (0, "")
    assert "found            1  (1 customers)" in done.stdout
    assert "v5" in done.stdout


def test_a_column_that_is_not_in_the_file_is_one_line(
    project: Path, tidings: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = project / "warehouse.yaml"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("sku: item", "sku: itme"), encoding="utf-8")

    try:
        done = tidings("detect", "cart_abandonment", "--as-of", "2015-06-01T12:00Z")
    finally:
        path.write_text(whole, encoding="utf-8")

    assert (done.returncode, done.stdout) == (2, "")
    (told,) = done.stderr.splitlines()
    assert '"visits" does not have a column named "itme"' in told
