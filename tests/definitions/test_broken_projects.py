"""Each broken project tells every mistake in one line that names file, field, rule, what was found, what was near."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tidings.definitions import load
from tidings.errors import DefinitionError

Spoil = Callable[[str, str, str], Path]
CART, SHOP, WAREHOUSE = "triggers/cart.yaml", "tidings.yaml", "warehouse.yaml"

# name: (edits of the good project, the lines that `tidings check` prints)
BROKEN: dict[str, tuple[list[tuple[str, str, str]], list[str]]] = {
    "an unknown key": (
        [(CART, "priority: 30", "prioritty: 30")],
        ['triggers/cart.yaml: prioritty (line 17): is not a known key; did you mean "priority"?'],
    ),
    "an unknown key within a step": (
        [(CART, "    after: 1d", "    afterr: 1d")],
        ['triggers/cart.yaml: steps.1.afterr (line 13): is not a known key; did you mean "after"?'],
    ),
    "a duration without a unit": (
        [(CART, "idle: 1h", 'idle: "90"')],
        ['triggers/cart.yaml: detect.idle (line 5): must be a duration such as "90d" or "1h"; found "90"'],
    ),
    "an unknown trigger type": (
        [("triggers/win_back.yaml", "type: win_back", "type: winback")],
        ["triggers/win_back.yaml: detect.type (line 3): must be one of {types}"
         '; found "winback"; did you mean "win_back"?'],
    ),
    "no trigger at all": (
        [("triggers/win_back.yaml", "detect:\n  type: win_back\n  lapse: 90d\n", "")],
        ["triggers/win_back.yaml: detect: is required; found nothing"],
    ),
    "an unknown parameter of a trigger": (
        [(CART, "idle: 1h", "idel: 1h")],
        ['triggers/cart.yaml: detect.idel (line 5): is not a known key; did you mean "idle"?'],
    ),
    "a currency that is none": (
        [(CART, "{EUR: 20}", "{euro: 20}")],
        ["triggers/cart.yaml: detect.minimum_value (line 6): must use three-letter currency codes such as"
         ' "EUR"; found "euro"'],
    ),
    "a least value where no event tells a price": (
        [(WAREHOUSE, "      price: each\n", "")],
        ["triggers/cart.yaml: detect.minimum_value (line 6): needs column product_events.price in warehouse.yaml"
         "; found no such column there"],
    ),
    "a template that is not there": (
        [(CART, "cart/last_chance", "cart/last_chanse")],
        ["triggers/cart.yaml: steps.1.template (line 15): must be a .sms file in message_templates/"
         '; found "cart/last_chanse"; did you mean "cart/last_chance"?'],
    ),
    "a template of the other channel": (
        [(CART, "template: cart/reminder", "template: cart/last_chance")],
        ["triggers/cart.yaml: steps.0.template (line 11): must be a .mjml file in message_templates/"
         '; found "cart/last_chance"'],
    ),
    "an unknown channel": (
        [(CART, "channel: sms", "channel: smss")],
        ['triggers/cart.yaml: steps.1.channel (line 14): must be email or sms; found "smss"; did you mean "sms"?'],
    ),
    "a schedule that cron does not know": (
        [(CART, '"*/15 * * * *"', '"every 15 minutes"')],
        ["triggers/cart.yaml: schedule (line 7): must be a cron schedule such as \"*/15 * * * *\""
         '; found "every 15 minutes"'],
    ),
    "two steps of one name": (
        [(CART, "name: last_chance", "name: reminder")],
        ['triggers/cart.yaml: steps (line 8): must have names of their own; found "reminder" twice'],
    ),
    "variants above the whole": (
        [(CART, "priority: 30", "variants: {a: 60%, b: 50%}")],
        ['triggers/cart.yaml: variants (line 17): must add up to at most 100%; found "110%"'],
    ),
    "everybody held out": (
        [(CART, "priority: 30", "holdout: 100%")],
        ['triggers/cart.yaml: holdout (line 17): must be a share below 100%; found "100%"'],
    ),
    "no cooldown": (
        [(CART, "priority: 30", "cooldown: 0h")],
        ['triggers/cart.yaml: cooldown (line 17): must be longer than zero; found "0h"'],
    ),
    "a key twice": (
        [(CART, "priority: 30", "priority: 30\nmode: paused")],
        ["triggers/cart.yaml: mode (line 18): must stand once; found it again, first in line 2"],
    ),
    "not YAML": (
        [(CART, "detect:", "detect: [")],
        ["triggers/cart.yaml: line 5: must be valid YAML (did not find expected ',' or ']')"],
    ),
    "two campaigns of one id": (
        [("triggers/win_back.yaml", "id: win_back", "id: cart")],
        ["triggers/win_back.yaml: id (line 1): must be this campaign's own; found \"cart\" in triggers/cart.yaml too"],
    ),
    "a table that is not mapped": (
        [(WAREHOUSE, "  orders:\n    table: sales\n    columns:\n      order_id: number\n      customer_id: who\n"
          "      ordered_at: at\n", "")],
        ["triggers/cart.yaml: detect.type (line 4): needs table orders in warehouse.yaml; found no such table there",
         "triggers/win_back.yaml: detect.type (line 3): needs table orders in warehouse.yaml"
         "; found no such table there"],
    ),
    "a column that the contract does not have": (
        [(WAREHOUSE, "ordered_at: at", "orderd_at: at")],
        ["warehouse.yaml: tables.orders.columns.orderd_at (line 19): is not a known key"
         '; did you mean "ordered_at"?'],
    ),
    "a shop without a sender for texts": (
        [(SHOP, '  sms: {from: "+15005550006"}\n', "")],
        ["triggers/cart.yaml: steps.1.channel (line 14): must have a sender: senders.sms in tidings.yaml; found none"],
    ),
    "a window that lies in the night": (
        [(CART, '{from: "09:00", to: "20:00"}', '{from: "22:00", to: "06:00"}')],
        ["triggers/cart.yaml: send_window (line 16): must leave time outside quiet_hours.email of tidings.yaml"
         "; found none",
         "triggers/cart.yaml: send_window (line 16): must leave time outside quiet_hours.sms of tidings.yaml"
         "; found none"],
    ),
    "a time zone that is none": (
        [(SHOP, "Europe/Helsinki", "Europe/Helsingki")],
        ['tidings.yaml: brand.zone (line 7): must be a time zone such as "Europe/Helsinki"; found "Europe/Helsingki"'],
    ),
    "an unknown provider": (
        [(SHOP, "name: sendgrid", "name: sendgird")],
        ['tidings.yaml: providers.email.name (line 14): must be sendgrid or outbox; found "sendgird"'],
    ),
    "a password in a file": (
        [(SHOP, "caps:", "ledger: {url: postgresql://me:secret@db.example/tidings}\ncaps:")],
        ["tidings.yaml: ledger.url (line 15): must not hold a password; name a connection instead"],
    ),
    "production on this machine": (
        [(SHOP, "shop: fenmark", "shop: fenmark\nproduction: true")],
        ['tidings.yaml: public_url: must be reachable from outside in production; found "http://127.0.0.1:8090"'],
    ),
    "an attribution window of a year": (
        [(CART, "priority: 30", "attribution: {window: {email: {click: 365d}}}")],
        ['triggers/cart.yaml: attribution.window.email.click (line 17): must be at most "90d"; found "365d"'],
    ),
    "several mistakes in several files": (
        [(CART, "mode: live", "mode: lief"), (CART, "priority: 30", "priority: high"),
         ("triggers/win_back.yaml", "lapse: 90d", "lapse: ninety"), (SHOP, "at_most: 1", "at_most: 0")],
        ["tidings.yaml: caps.0.at_most (line 16): must be at least 1; found \"0\"",
         'triggers/cart.yaml: mode (line 2): must be dry_run, live or paused; found "lief"; did you mean "live"?',
         'triggers/cart.yaml: priority (line 17): must be a whole number; found "high"',
         'triggers/win_back.yaml: detect.lapse (line 4): must be a duration such as "90d" or "1h"; found "ninety"'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_project_tells_every_mistake_in_one_line(name: str, spoil: Spoil, project: Path) -> None:
    edits, expected = BROKEN[name]
    for file, old, new in edits:
        spoil(file, old, new)

    told = [str(mistake) for mistake in load(project).mistakes]

    assert told == [line.replace("{types}", ", ".join(_types())) for line in expected]
    assert not any("\n" in line for line in told)


def _types() -> list[str]:
    from tidings.detect.walk import trigger_types

    return sorted(trigger_types())


def test_a_broken_campaign_stops_no_other(spoil: Spoil) -> None:
    project = load(spoil(CART, "idle: 1h", "idle: soon"))

    assert list(project.campaigns) == ["win_back"]
    with pytest.raises(DefinitionError, match=r"triggers/cart\.yaml: detect\.idle \(line 5\)"):
        project.campaign("cart")


def test_a_broken_shop_is_told_by_whoever_asks_for_it(spoil: Spoil) -> None:
    project = load(spoil(SHOP, "EUR", "EURO"))

    with pytest.raises(DefinitionError, match=r"^tidings\.yaml: brand\.currency \(line 8\)"):
        _ = project.settings


def test_an_unknown_campaign_is_told_with_the_nearest(project: Path) -> None:
    with pytest.raises(DefinitionError, match='found "winback"; did you mean "win_back"'):
        load(project).campaign("winback")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [1]\nb: *a\nc: *d\n", 'c (line 3): must refer to an anchor above it; found "*d"'),
        ("a: &a [*a]\n", 'a.0 (line 1): must not contain itself; found "*a"'),
        ("a: !!python/object/apply:os.system [ls]\n",
         'a (line 1): must not use tags; found "tag:yaml.org,2002:python/object/apply:os.system"'),
        ("a: " + "[" * 60 + "]" * 60, "line 1: must not be nested deeper than 40 groups"),
        ("- a\n- b\n", "must be a group of keys such as `id: ...`; found \"['a', 'b']\""),
        ("", "must be a group of keys such as `id: ...`; found nothing"),
        ("a: 1\n---\nb: 2\n", "line 2: must be one YAML document; found a second one"),
        ("a: \x00\n", "must be valid YAML; found characters that YAML does not allow"),
    ],
    ids=["an alias of nothing", "an anchor in itself", "a python tag", "deep", "a list", "empty", "two", "a NUL"],
)  # fmt: skip
def test_a_file_that_could_harm_its_reader_is_a_mistake(text: str, told: str, project: Path) -> None:
    (project / "triggers" / "cart.yaml").write_text(text, encoding="utf-8")

    assert [mistake.what for mistake in load(project).mistakes if mistake.file == CART] == [told]


def test_aliases_cannot_multiply_without_end(project: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (project / "triggers" / "cart.yaml").write_text("\n".join(lines), encoding="utf-8")

    told = [mistake.what for mistake in load(project).mistakes if mistake.file == CART]

    assert told == ["a4 (line 5): must hold at most 20,000 values, repeated ones included"]


def test_a_file_that_is_no_text_is_a_mistake(project: Path) -> None:
    (project / "triggers" / "cart.yaml").write_bytes(b"id: \xff\xfe")

    assert [str(one) for one in load(project).mistakes] == [
        "triggers/cart.yaml: must be text in UTF-8; found other bytes"
    ]
