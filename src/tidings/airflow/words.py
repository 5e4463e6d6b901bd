"""What Airflow shows about a campaign: its file in plain words, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pydantic import BaseModel

from tidings.definitions import Campaign, Mistake, Step
from tidings.fields import written
from tidings.model.money import exponent
from tidings.model.people import Channel

_CHANNELS = {Channel.EMAIL: "e-mail", Channel.SMS: "text"}

DISPATCH = """\
Sends what is due **and still true**, every minute.

1. **Is anything due?** asks the ledger only; with nothing due, nothing else happens.
2. **Send** works in lanes side by side. Each takes free shards one after the other, looks again at consent, purchases,
   limits, quiet hours and the campaign's own condition, then sends.

Clearing or rerunning a task sends nothing twice. Stopping one lets the messages in flight finish.
"""

RECONCILE = """\
Every night: asks SendGrid for its suppression lists and Twilio for its texts, and writes what a lost webhook would have
said: opt-outs, bounces, proof that a message was taken. Running it again changes nothing.

After the ledger was **restored from a backup**, dispatch stays closed. Trigger this DAG with *Reopen* (or run
`tidings reconcile`): what was due before and cannot be proven is presumed lost and never sent again; then dispatch
opens. See docs/production.md, *After a restore*.
"""
RETENTION = """\
Every night: takes out of the ledger what was kept as long as `retention:` in `tidings.yaml` says, and finishes
forgetting people of whom another process had written something at that very moment. Reports do not change.
"""
MEASURE = """\
Credits orders to messages, takes back what was refunded, and compares the people who were written to with those who
were held out. It may run as often as you like: recomputing changes nothing twice.
"""


def about(campaign: Campaign) -> str:
    """Return the page of a campaign's DAG."""
    parts = [
        campaign.description.strip(),
        f"**Who qualifies** (`{campaign.detect.type}`)\n\n{_parameters(campaign.detect)}",
        "**What they get**\n\n" + "\n".join(_step(number, step) for number, step in enumerate(campaign.steps, 1)),
        f"**Rules**\n\n{_rules(campaign)}",
        f"Mode: **{campaign.mode}** · file `triggers/{campaign.name}.yaml` · id `{campaign.id}`",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def broken(file: str, mistakes: Sequence[Mistake]) -> str:
    """Return the page of a DAG whose campaign file cannot be used."""
    lines = "\n".join(f"- `{_plain(mistake.what)}`" for mistake in mistakes)
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return (
        f"**This campaign is stopped: `{file}` has {count}.** Every other campaign goes on.\n\n{lines}\n\n"
        "Mend the file; `tidings check` lists every mistake. Nothing is lost: the next run looks back.\n"
    )


def _parameters(detect: BaseModel) -> str:
    said = detect.model_dump(mode="json")
    rows = []
    for name, field in type(detect).model_fields.items():
        if name == "type":
            continue
        meaning = (field.description or "").replace("|", "/")
        rows.append(f"| {name} | {_plain(_value(getattr(detect, name), said.get(name)))} | {meaning} |")
    return "\n".join(["| parameter | value | meaning |", "|---|---|---|", *rows])


def _value(value: object, plain: object) -> str:
    if isinstance(value, dict) and isinstance(plain, dict):
        return ", ".join(f"{key} {_amount(key, one)}" for key, one in value.items()) or "none"
    if isinstance(plain, list):
        return ", ".join(str(one) for one in plain) or "none"
    return "none" if value is None else str(plain)


def _amount(currency: str, minor: object) -> str:
    """Return an amount as the file has it; whole units are written without places."""
    if not isinstance(minor, int):
        return str(minor)
    text = f"{Decimal(minor).scaleb(-exponent(currency)):f}"
    return text.removesuffix(".00")


def _step(number: int, step: Step) -> str:
    when = "at once" if not step.after else f"after {written(step.after)}"
    return (
        f"{number}. **{step.name}**: {_CHANNELS[step.channel]} `{step.template}`, {when}; "
        f"dropped when it could not leave within {written(step.lasts)}"
    )


def _rules(campaign: Campaign) -> str:
    rules = [f"- Nobody enters again within {written(campaign.cooldown)}."]
    if campaign.exit_on:
        rules.append("- An order ends the series.")
    if campaign.send_window is not None:
        window = campaign.send_window
        rules.append(f"- Sent from {window.start:%H:%M} to {window.end:%H:%M} by the customer's clock.")
    rules.append(f"- {float(campaign.holdout * 100):g}% get nothing, to see what would have happened anyway.")
    rules.append(f"- Priority {campaign.priority}: the lower number wins when two campaigns would write at once.")
    if campaign.variants:
        arms = ", ".join(f"{name} {float(share * 100):g}%" for name, share in campaign.variants.items())
        rules.append(f"- Content test: {arms}.")
    return "\n".join(rules)


def _plain(text: str) -> str:
    """Return text that cannot leave its cell or its code span."""
    return text.replace("`", "'").replace("|", "/").replace("\n", " ")
