"""F20: whatever one row of the shop holds, the others are planned and sent, and the ledger is none the worse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_shop import LETTER, MINUTE, NOON, Day, SmallShop, lay_out

from tidings.sandbox.server import Sandbox

IDS = {
    "sql": "x'; DROP TABLE messages; --",
    "sql in quotes": '" OR 1=1; DELETE FROM entries; --',
    "json": '{"id": 1}], "x": [',
    "percent": "%s %(id)s :id ? $1",
    "like": "%_%",
    "copy": "a\tb\\N\\.",
    "line breaks": "a\r\nb",
    "emoji": "\U0001f469\u200d\U0001f467",
    "bidi": "\u202efdp",
    "nul": "a\x00b",
    "subject": "p:ann",
    "tombstone": "erased:anybody",
    "endless": "y" * 5_000,
}
# It greets by name, and for one of them it never ends.
POISON = LETTER.replace(
    "<h1>Your cart</h1>",
    "<h1>{{ customer.first_name or 'x' }}</h1>{% if customer.last_name == 'Poison' %}"
    "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x"
    "{% endfor %}{% endfor %}{% endfor %}"
    "{% endif %}",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


def test_one_hostile_row_costs_no_other_its_message(
    ledger_url: str, tmp_path: Path, sandbox: Sandbox, open_day: Callable[[SmallShop], Day]
) -> None:
    shop = lay_out(tmp_path / "shop", ledger_url=ledger_url, sandbox_url=sandbox.url)
    (shop.folder / "message_templates/cart/reminder.mjml").write_text(POISON)
    shop.product()
    for number, who in enumerate(IDS.values()):
        shop.customer(who, email=f"odd{number}@post.example", phone=None, first_name="<b>{{7*7}}\r\n")
    shop.customer("poison", last_name="Poison")
    shop.customer("megabyte", first_name="z" * 1_000_000)
    for n in range(10):
        shop.customer(f"plain{n}")
    for row in shop.told["customers"]:
        shop.cart(row["customer_id"])
    shop.load()
    day = open_day(shop)
    started = time.monotonic()

    day.plan(NOON)
    day.dispatch(NOON + MINUTE)

    found = day.statuses()
    sent = {who for who, (status, _) in found.items() if status == "sent"}
    assert {f"plain{n}" for n in range(10)} | {"megabyte"} <= sent
    assert found["poison"] == ("skipped", "template")
    odd = {who for who in IDS.values() if "\0" not in who and len(who) < 200}
    assert odd <= sent
    assert Counter(found[who] for who in found if who.startswith("unfit:")) == {("skipped", "unknown_customer"): 2}
    assert len(found) == len(shop.told["customers"])  # everybody has an answer
    assert len(sandbox.store.messages) == len(sent)
    assert time.monotonic() - started < 60
    assert not [one for one in sandbox.store.messages if "<b>" in (sandbox.store.words(one)["html"] or "")]
