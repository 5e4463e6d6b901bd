"""Receipts hold until somebody touches them: every kind of tampering is named, every lawful change is not."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from small_shop import CART, DAY, HOUR, MINUTE, NOON, Day, SmallShop, lay_out
from sqlalchemy import delete, insert, select, update

from tidings.cli import run as command
from tidings.errors import DefinitionError
from tidings.jobs import measure, seal, verify
from tidings.ledger import erasing, people, receipts
from tidings.ledger import schema as s
from tidings.model.people import Channel, Consent
from tidings.sandbox.server import Sandbox

NewShop = Callable[..., SmallShop]
OpenDay = Callable[[SmallShop], Day]
WHO = ("ann", "bo", "cy", "dee", "eve")
SERIES = CART.format(id="cart").replace(
    "holdout: 0%",
    "  - {name: text, after: 1h, channel: sms, template: cart/text, expires_after: 24h}\nholdout: 0%\nmin_gap: 0h",
)


@pytest.fixture(scope="module")
def day_of_five(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[SmallShop, str]]]:
    """Call it for a shop of one's own: five left a cart, were reminded by e-mail and an hour later by text."""
    made: dict[str, tuple[SmallShop, str]] = {}

    def prepared(kind: str) -> tuple[SmallShop, str]:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            url = f"sqlite:///{folder}/ledger.db" if kind == "sqlite" else request.getfixturevalue("kept_postgres")()
            at = running.enter_context(Sandbox(folder / "sandbox")).url
            shop = lay_out(folder / "shop", ledger_url=url, sandbox_url=at, campaigns={"cart": SERIES})
            made[kind] = (_sealed_day(shop), url)
        return made[kind]

    with ExitStack() as running:
        yield prepared


def _sealed_day(shop: SmallShop) -> SmallShop:
    letter = shop.folder / "message_templates/cart/reminder.mjml"
    letter.write_text(letter.read_text().replace("<h1>Your cart", "<h1>{{ customer.first_name }}, your cart"))
    shop.product()
    for one in WHO:
        shop.customer(one)
        shop.cart(one)
    shop.load()
    with shop.opened() as opened:
        day = Day(shop, opened)
        day.plan(NOON)
        assert day.dispatch(NOON).sent == len(WHO)
        assert day.dispatch(NOON + HOUR).sent == len(WHO)
        assert seal.run(opened, now=NOON + DAY).sealed == 2 * len(WHO)
    return shop


@pytest.fixture(params=["sqlite", "postgresql"])
def sent(
    request: pytest.FixtureRequest,
    day_of_five: Callable[[str], tuple[SmallShop, str]],
    tmp_path: Path,
    open_day: OpenDay,
) -> Day:
    """The sealed day of five, in a copy of this test's own."""
    shop, url = day_of_five(request.param)
    shutil.copytree(shop.folder, tmp_path / "shop")
    if request.param == "sqlite":
        shutil.copy(url.removeprefix("sqlite:///"), tmp_path / "ledger.db")
        copy = f"sqlite:///{tmp_path}/ledger.db"
    else:
        copy = request.getfixturevalue("new_postgres")(like=url)
    extra = json.dumps({"conn_type": "generic", "extra": {"sqlalchemy_url": copy}})
    loads = itertools.count(2)
    mine = SmallShop(tmp_path / "shop", {**shop.environ, "AIRFLOW_CONN_LEDGER": extra}, _loads=loads)
    return open_day(mine)


def ids(day: Day, who: str = "ann") -> tuple[str, str]:
    """Return the ids of a customer's two messages."""
    mail, text = day.messages(customer_id=who)
    return mail.id, text.id


def write(day: Day, *statements: Any) -> None:
    with day.opened.ledger.writing() as conn:
        for statement in statements:
            conn.execute(statement)


def evidence_of(day: Day, message_id: str) -> Any:
    with day.opened.ledger.reading() as conn:
        return conn.scalar(select(s.receipts.c.evidence).where(s.receipts.c.message_id == message_id))


def named(day: Day, **given: Any) -> list[str]:
    """Return what a look at everything calls altered."""
    found = verify.run_all(day.opened, **given)
    assert found.faults == len(found.broken)
    return sorted({one.name for one in found.broken})


def answers(day: Day, message_id: str) -> dict[str, str]:
    return {check.name: check.answer for check in verify.run(day.opened, message_id).checks}


def test_every_receipt_holds_and_every_message_can_be_written_again_byte_by_byte(sent: Day) -> None:
    found = verify.run_all(sent.opened, words=True)

    assert (found.faults, found.receipts, found.sealed, found.rewritten) == (0, 10, 10, 10)


def test_one_message_is_told_check_by_check(sent: Day) -> None:
    for one in ids(sent):
        told = verify.run(sent.opened, one)

        assert [(check.name, check.answer) for check in told.checks] == [
            (name, "yes")
            for name in (
                "sealed", "receipt", "made of", "occasion", "address", "gates", "consent", "words", "provider",
            )
        ]  # fmt: skip


def forged(day: Day, message_id: str, **changed: Any) -> Any:
    said = json.loads(evidence_of(day, message_id)) | changed
    kept = s.receipts.c.message_id == message_id
    return update(s.receipts).where(kept).values(evidence=receipts.canonical(said))


TAMPERED: dict[str, Callable[[Day, str], Any]] = {
    "the evidence": lambda day, one: forged(day, one, caps=["0/9"]),
    "its spelling": lambda day, one: update(s.receipts).where(s.receipts.c.message_id == one).values(
        evidence=evidence_of(day, one).replace(",", ", ", 1)
    ),
    "the permission": lambda day, one: forged(day, one, consent=None),
    "where a link leads": lambda day, one: update(s.receipts).where(s.receipts.c.message_id == one).values(
        urls='["https://evil.example/"]'
    ),
    "that it was tracked": lambda day, one: update(s.receipts).where(s.receipts.c.message_id == one).values(
        tracked=True
    ),
    "the receipt's being there": lambda day, one: delete(s.receipts).where(s.receipts.c.message_id == one),
    "when it left": lambda day, one: update(s.messages).where(s.messages.c.id == one).values(
        sending_at=NOON - MINUTE
    ),
    "its arm": lambda day, one: update(s.messages).where(s.messages.c.id == one).values(held_out=True),
    "its link in the chain": lambda day, one: update(s.receipt_chain).where(
        s.receipt_chain.c.message_id == one
    ).values(digest="0" * 64),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_sealed_message_of_which_something_was_altered_is_named(sent: Day, what: str) -> None:
    mail, _ = ids(sent, "cy")

    write(sent, TAMPERED[what](sent, mail))

    found = verify.run_all(sent.opened)
    assert found.faults
    assert any(mail in (one.name, *one.fact.split()) for one in found.broken)
    assert len({one.name for one in found.broken if one.kind == "message"}) <= 1
    assert "sealed" in verify.run(sent.opened, mail).altered
    assert verify.run(sent.opened, ids(sent, "bo")[0]).altered == ()


def test_a_forger_who_also_mends_the_digest_breaks_the_chain(sent: Day) -> None:
    mail, _ = ids(sent, "cy")
    write(sent, forged(sent, mail, caps=["0/9"]))
    with sent.opened.ledger.reading() as conn:
        row = receipts.receipt(conn, mail)
    digest = receipts.digest(row)

    write(sent, update(s.receipt_chain).where(s.receipt_chain.c.message_id == mail).values(digest=digest))

    assert [one.kind for one in verify.run_all(sent.opened).broken] == ["chain"]


def test_a_link_that_was_taken_out_breaks_the_chain_and_its_message_is_told_as_not_sealed(sent: Day) -> None:
    mail, _ = ids(sent, "cy")

    write(sent, delete(s.receipt_chain).where(s.receipt_chain.c.message_id == mail))

    found = verify.run_all(sent.opened)
    assert [one.kind for one in found.broken] == ["chain"]
    assert found.waiting == 1


def test_a_message_that_was_taken_out_whole_is_named(sent: Day) -> None:
    mail, _ = ids(sent, "cy")

    write(
        sent,
        delete(s.receipts).where(s.receipts.c.message_id == mail),
        delete(s.messages).where(s.messages.c.id == mail),
    )

    assert named(sent) == [mail]
    assert verify.run(sent.opened, mail).altered == ("sealed",)


def test_a_message_that_was_put_in_long_after_its_days_is_named(sent: Day) -> None:
    mail, _ = ids(sent, "cy")
    whole = s.messages.c
    columns = [name for name in list(whole.keys()) if name not in ("id", "step", "sending_at")]
    made = select(
        *(whole[name] for name in columns), whole.id.op("||")("x"), whole.step.op("||")("x")
    ).where(whole.id == mail)  # fmt: skip
    write(
        sent,
        insert(s.messages).from_select([*columns, "id", "step"], made),
        update(s.messages).where(whole.id == mail + "x").values(sending_at=NOON - 40 * DAY),
        insert(s.receipts).values(message_id=mail + "x", urls="[]", tracked=False, evidence=evidence_of(sent, mail)),
    )

    assert mail + "x" in named(sent)


def test_a_version_whose_content_was_altered_is_named_with_the_messages_made_of_it(sent: Day) -> None:
    changed = s.versions.c.content.op("||")(" ")

    write(sent, update(s.versions).where(s.versions.c.kind == "product").values(content=changed))

    found = verify.run_all(sent.opened)
    assert next(one.kind for one in found.broken if "lamp" in one.fact) == "version"
    assert found.faults == 1 + 2 * len(WHO)
    assert verify.run(sent.opened, ids(sent)[0]).altered == ("made of",)


def test_what_the_customer_did_cannot_be_altered_either(sent: Day) -> None:
    write(sent, update(s.entries).where(s.entries.c.customer_id == "cy").values(value=1))

    assert named(sent) == sorted(ids(sent, "cy"))
    assert verify.run(sent.opened, ids(sent, "cy")[0]).altered == ("occasion",)


def test_proof_that_comes_later_alters_nothing(sent: Day) -> None:
    write(sent, update(s.messages).values(status="sent", provider_id="later", sent_at=NOON + 2 * DAY))

    assert verify.run_all(sent.opened).faults == 0


def test_a_customer_whose_name_changed_is_told_by_field_and_never_by_value(sent: Day) -> None:
    for path in sent.shop.folder.glob("data/customers-*"):
        path.unlink()
    for one in WHO:
        sent.shop.customer(one, **({"first_name": "Anneli", "country": "SE"} if one == "ann" else {}))
    sent.shop.load()

    told = verify.run(sent.opened, ids(sent)[0])

    words = next(check for check in told.checks if check.name == "words")
    assert (words.answer, words.fact) == ("-", "the customer's data changed since: country, first_name")
    assert told.altered == ()


def test_permission_that_was_withdrawn_since_is_told_and_one_that_vanished_is_altered(sent: Day) -> None:
    sent.shop.consent("ann", status="withdrawn", at=NOON + DAY)
    sent.shop.load()
    assert "withdrawn" in next(
        one.fact for one in verify.run(sent.opened, ids(sent)[0]).checks if one.name == "consent"
    )

    for path in sent.shop.folder.glob("data/consents-*"):
        path.unlink()
    sent.shop.consent("bo")
    sent.shop.load()

    assert verify.run(sent.opened, ids(sent)[0]).altered == ("consent",)
    assert verify.run(sent.opened, ids(sent, "bo")[0]).altered == ()


def test_permission_given_to_us_is_proved_with_its_wording(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop()
    shop.product()
    shop.customer("ann")
    shop.consent("ann", status="withdrawn", at=NOON - 2 * DAY)
    shop.cart("ann")
    shop.load()
    day = open_day(shop)
    with day.opened.ledger.writing() as conn:
        people.add_consent(conn, Consent("ann", Channel.EMAIL, "marketing", True, NOON - DAY), source="page")
        conn.execute(update(s.consents).values(wording="Yes, write to me", basis="double_opt_in"))
    day.plan(NOON)
    assert day.dispatch(NOON).sent == 1

    (message,) = day.messages()
    told = verify.run(day.opened, message.id)

    assert told.altered == ()
    consent = json.loads(evidence_of(day, message.id))["consent"]
    assert (consent["from"], consent["basis"]) == ("ledger", "double_opt_in")
    write(day, update(s.consents).values(wording="Something else"))
    assert verify.run(day.opened, message.id).altered == ("consent",)


def test_a_person_who_was_forgotten_leaves_a_chain_that_holds(sent: Day) -> None:
    with sent.opened.ledger.writing() as conn:
        erasing.erase(conn, ["ann"], [], sent.opened.secrets.pepper)

    found = verify.run_all(sent.opened)

    assert (found.faults, found.erased) == (0, 2)


def test_sealing_again_or_measuring_adds_nothing_and_the_next_day_hangs_on_the_last(sent: Day) -> None:
    before = seal.run(sent.opened, now=NOON + DAY).heads
    measure.run(sent.opened, now=NOON + DAY)
    assert seal.run(sent.opened, now=NOON + DAY).heads == before

    sent.shop.customer("fay")
    sent.shop.cart("fay", at=NOON + DAY - 2 * HOUR)
    sent.shop.load()
    sent.plan(NOON + DAY)
    assert sent.dispatch(NOON + DAY).sent == 1
    assert verify.run_all(sent.opened).waiting == 1

    after = seal.run(sent.opened, now=NOON + 2 * DAY)
    assert [one.position + 1 for one in after.heads] == [10, 1]
    assert verify.run_all(sent.opened).faults == 0
    with sent.opened.ledger.writing() as conn:
        assert receipts.drop_before(conn, after.heads[-1].day) == 10
    assert (verify.run_all(sent.opened).sealed, verify.run_all(sent.opened).faults) == (1, 0)


def test_what_is_settled_after_its_day_was_sealed_joins_the_next_one(sent: Day) -> None:
    mail, _ = ids(sent, "eve")
    late = ids(sent, "dee")[0]
    write(
        sent,
        delete(s.receipt_chain),
        update(s.messages).where(s.messages.c.id == late).values(status="unknown"),
        update(s.messages).where(s.messages.c.id == mail).values(sending_at=NOON + DAY),
    )
    assert seal.run(sent.opened, now=NOON + DAY).sealed == 8
    write(sent, update(s.messages).where(s.messages.c.id == late).values(status="sent"))

    counts = seal.run(sent.opened, now=NOON + 2 * DAY)

    assert (counts.sealed, [one.position + 1 for one in counts.heads]) == (2, [8, 2])
    assert not [one for one in verify.run_all(sent.opened).broken if one.kind == "chain"]


def test_the_command_tells_the_checks_and_ends_with_1_for_what_was_altered(
    sent: Day, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in sent.shop.environ.items():
        monkeypatch.setenv(name, value)
    mail, _ = ids(sent)
    where = ["--project", str(sent.shop.folder)]

    assert command(["verify", mail, *where]) == 0
    assert "written anew" in capsys.readouterr().out
    assert command(["verify", "--all", *where]) == 0
    assert "Every receipt holds." in capsys.readouterr().out

    write(sent, TAMPERED["the evidence"](sent, mail))
    assert command(["verify", mail, *where]) == 1
    assert command(["verify", "--all", "--day", "2026-03-03", *where]) == 1
    assert mail in capsys.readouterr().out
    assert command(["verify", *where]) == command(["verify", "nobody", *where]) == 2


def test_a_message_that_never_left_has_nothing_to_verify(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop()
    shop.product()
    shop.customer("ann")
    shop.cart("ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)

    with pytest.raises(DefinitionError, match="planned"):
        verify.run(day.opened, day.messages()[0].id)


def test_a_dry_run_has_receipts_that_hold_and_are_never_sealed(new_shop: NewShop, open_day: OpenDay) -> None:
    shop = new_shop(campaigns={"cart": CART.format(id="cart").replace("mode: live", "mode: dry_run")})
    shop.product()
    shop.customer("ann")
    shop.cart("ann")
    shop.load()
    day = open_day(shop)
    day.plan(NOON)
    assert day.dispatch(NOON, dry_run=True).sent == 1

    assert seal.run(day.opened, now=NOON + DAY).sealed == 0
    (message,) = day.messages()
    assert verify.run(day.opened, message.id).altered == ()
    assert answers(day, message.id)["words"] == "yes"
