"""What a person chooses on their page holds at once, for every id and at every address, with the words they saw."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from tidings.definitions.campaign import Campaign, Step
from tidings.detect.cart_abandonment import CartAbandonment
from tidings.ledger import people, schema
from tidings.model.people import Channel, Consent

MAIL, TEXT, NEXT = "0a" * 16, "0b" * 16, "0c" * 16
EVERYTHING = {"email.marketing", "email.back_in_stock", "email.click_tracking", "sms.marketing"}


class Page:
    """The page as a person without a script uses it: confirm, look, tick, save."""

    def __init__(self, shop: Any, message: str = MAIL) -> None:
        self.shop = shop
        self.path = f"/p/{shop.opened.signer.preferences(message)}"
        self.text = shop.client.post(self.path, data={"do": "show"}).text

    @property
    def ticked(self) -> set[str]:
        return {one for one in self.shown if re.search(rf'name="{re.escape(one)}" value="yes" checked', self.text)}

    @property
    def shown(self) -> set[str]:
        return set(re.findall(r'name="([a-z]+\.[a-z_]+)" value="yes"', self.text))

    def save(self, *ticked: str, at: str | None = None) -> None:
        (stamp,) = re.findall(r'name="stamp" value="([^"]+)"', self.text)
        offered = re.findall(r'name="shown" value="([^"]+)"', self.text)
        form = {"do": "save", "stamp": stamp, "shown": offered, **dict.fromkeys(ticked, "yes")}
        headers = {"X-Sandbox-Time": at} if at else {}
        self.text = self.shop.client.post(self.path, data=form, headers=headers).text


def said(shop: Any) -> set[tuple[str, str, str, bool, str]]:
    found = shop.rows(schema.consents)
    return {(row["customer_id"], row["channel"], row["purpose"], row["granted"], row["basis"]) for row in found}


def told(shop: Any) -> list[tuple[str, str, bool, str]]:
    found = shop.rows(schema.opt_outs)
    return [(row["channel"], row["purpose"], row["opted_out"], row["reason"]) for row in found]


def test_a_visit_shows_nothing_and_a_word_shows_what_is_open(shop: Any) -> None:
    path = f"/p/{shop.opened.signer.preferences(MAIL)}"

    visit = shop.client.get(path)

    assert (visit.status_code, visit.text.count("checkbox"), visit.text.count('method="post"')) == (200, 0, 1)
    assert Page(shop).ticked == EVERYTHING - {"sms.click_tracking"}
    assert Page(shop).shown == EVERYTHING | {"sms.click_tracking"}
    assert (shop.rows(schema.consents), shop.closed(), told(shop)) == ([], set(), [])


def test_one_purpose_is_closed_for_every_id_with_the_words_that_were_shown(shop: Any) -> None:
    page = Page(shop)

    page.save(*(EVERYTHING - {"email.marketing"}))

    assert "Your choices are saved" in page.text
    assert page.ticked == EVERYTHING - {"email.marketing"}
    assert {one[:4] for one in said(shop) if one[0] != "c2"} == {
        ("c0", "email", "marketing", False), ("c1", "email", "marketing", False)
    }  # fmt: skip
    (row, *_) = shop.rows(schema.consents)
    assert (row["message_id"], row["source"]) == (MAIL, "preferences")
    assert row["wording"] == "Fenmark may send me by e-mail: News, offers and reminders"
    assert (shop.closed(), told(shop)) == (set(), [("email", "marketing", True, "preferences")])


def asks(shop: Any, **purposes: tuple[str, ...]) -> None:
    """Let campaigns of these names have one step by e-mail, for which one of these purposes is enough."""
    detect = CartAbandonment.model_validate({"type": "cart_abandonment", "idle": "1h"})
    for name, enough in purposes.items():
        step = Step(name="one", channel=Channel.EMAIL, template="cart/one", purposes=enough)
        made = Campaign(id=name, schedule="@hourly", steps=(step,), detect=detect)
        shop.opened.project.campaigns[name] = made


def waiting(shop: Any, message: str, **values: Any) -> str:
    """Put one more message into the ledger, like the one that waits, with these values; return its id."""
    (row,) = [dict(one) for one in shop.rows(schema.messages) if one["id"] == NEXT]
    (entry,) = [dict(one) for one in shop.rows(schema.entries) if one["id"] == row["entry_id"]]
    entry |= {"id": message, "entry_key": message, "campaign": values.get("campaign", "cart")}
    with shop.opened.ledger.writing() as conn:
        conn.execute(insert(schema.entries).values(**entry))
        conn.execute(insert(schema.messages).values(**(row | {"id": message, "entry_id": message, **values})))
    return message


@pytest.mark.parametrize("status", ["planned", "claimed"])
def test_a_purpose_that_is_closed_cancels_what_waits_for_it_and_nothing_else(shop: Any, status: str) -> None:
    asks(shop, cart=("marketing",), either=("marketing", "back_in_stock"))
    with shop.opened.ledger.writing() as conn:
        conn.execute(update(schema.messages).where(schema.messages.c.id == NEXT).values(status=status))
    either = waiting(shop, "1a" * 16, campaign="either")
    former = waiting(shop, "1b" * 16, customer_id="c0")
    neighbour = waiting(shop, "1c" * 16, customer_id="c2")
    spoken_of = waiting(shop, "1d" * 16, customer_id="c2", campaign="either")
    stranger = waiting(shop, "1e" * 16, customer_id="c9", address_hash="e" * 32)

    Page(shop).save(*(EVERYTHING - {"email.marketing"}))

    for closed in (NEXT, former, neighbour):
        assert shop.status(closed) == ("cancelled", "no_consent")
    # For these the other purpose is enough; a text is another channel.
    assert {shop.status(one) for one in (either, spoken_of, stranger)} == {(status, None)}
    assert shop.status("0d" * 16) == ("planned", None)

    Page(shop).save("sms.marketing", "email.click_tracking")
    assert shop.status(either) == ("cancelled", "suppressed")


def test_what_one_of_two_purposes_was_enough_for_is_cancelled_with_the_second(shop: Any) -> None:
    asks(shop, either=("marketing", "back_in_stock"), gifts=("gifts",))
    with shop.opened.ledger.writing() as conn:
        for purpose, granted in (("marketing", False), ("gifts", True)):
            said = Consent("c1", Channel.EMAIL, purpose, granted, shop.opened.ledger.now())
            people.add_consent(conn, said, source="test")
    either = waiting(shop, "1a" * 16, campaign="either")
    gift = waiting(shop, "1b" * 16, campaign="gifts")

    Page(shop).save("email.gifts", "email.click_tracking", "sms.marketing")

    assert (shop.status(either), shop.status(gift)) == (("cancelled", "no_consent"), ("planned", None))


def test_tracking_that_is_closed_cancels_nothing(shop: Any) -> None:
    asks(shop, cart=("marketing",))

    Page(shop).save(*(EVERYTHING - {"email.click_tracking"}))

    assert shop.status(NEXT) == ("planned", None)


def test_without_the_warehouse_a_closed_purpose_cancels_what_needs_it(shop: Any) -> None:
    asks(shop, cart=("marketing",), either=("marketing", "back_in_stock"))
    either = waiting(shop, "1a" * 16, campaign="either")
    shop.opened.shop.close()
    for path in (shop.opened.project.folder / "data").iterdir():
        path.unlink()

    Page(shop).save(*(EVERYTHING - {"email.marketing"}))

    assert (shop.status(NEXT), shop.status(either)) == (("cancelled", "no_consent"), ("planned", None))


def test_the_last_tick_of_a_channel_closes_it_and_cancels_what_waits(shop: Any) -> None:
    page = Page(shop)

    page.save("sms.marketing")

    assert page.ticked == {"sms.marketing"}
    found = shop.rows(schema.suppressions)
    assert {(row["subject"][:1], row["channel"], row["reason"]) for row in found} == {
        ("a", "email", "unsubscribed"), ("p", "email", "unsubscribed")
    }  # fmt: skip
    assert {row["subject"] for row in found if row["subject"].startswith("p:")} == {"p:c0", "p:c1"}
    assert shop.status(NEXT) == ("cancelled", "suppressed")
    assert shop.status("0d" * 16) == ("planned", None)


def test_what_was_closed_opens_again_and_only_what_is_chosen_comes_back(shop: Any) -> None:
    Page(shop).save("sms.marketing")

    page = Page(shop)
    page.save("email.back_in_stock", "sms.marketing")

    assert page.ticked == {"email.back_in_stock", "sms.marketing"}
    assert ("c1", "email", "back_in_stock", True, "express") in said(shop)
    assert Page(shop).ticked == {"email.back_in_stock", "sms.marketing"}


def test_a_no_at_a_shared_mailbox_holds_for_both_and_a_yes_for_one(shop: Any) -> None:
    with shop.opened.ledger.writing() as conn:
        conn.execute(update(schema.messages).where(schema.messages.c.id == NEXT).values(customer_id="c2"))

    Page(shop).save("sms.marketing")
    mailboxes = {row["subject"] for row in shop.rows(schema.suppressions) if row["subject"].startswith("a:")}
    assert shop.status(NEXT) == ("cancelled", "suppressed")
    assert len(mailboxes) == 1
    assert ("c2", "email", "marketing", False, "express") in said(shop)

    Page(shop).save("email.marketing", "sms.marketing")
    assert "email.marketing" in Page(shop).ticked
    assert "email.marketing" not in Page(shop, NEXT).ticked


def test_a_page_that_was_open_too_long_changes_nothing(shop: Any) -> None:
    page = Page(shop)
    now = shop.opened.ledger.now()

    page.save(at=(now + timedelta(hours=2)).isoformat())

    assert "nothing was changed" in page.text
    assert (shop.rows(schema.consents), shop.closed()) == ([], set())


@pytest.mark.parametrize("stamp", ["", "x", "1" * 200, "é.é", "1123.", "19999999999999.abc"])
def test_a_blind_post_changes_nothing(shop: Any, stamp: str) -> None:
    path = f"/p/{shop.opened.signer.preferences(MAIL)}"

    answer = shop.client.post(path, data={"do": "save", "stamp": stamp, "shown": sorted(EVERYTHING)})

    assert answer.status_code == 200
    assert (shop.rows(schema.consents), shop.closed()) == ([], set())


def test_choices_lift_no_bounce_and_no_complaint(shop: Any) -> None:
    shop.events({"event": "bounce", "type": "bounce", "sg_event_id": "e1"})
    page = Page(shop)
    assert "came back" in page.text

    page.save(*EVERYTHING)
    assert page.ticked == {"email.click_tracking", "sms.marketing"}

    shop.events({"event": "spamreport", "sg_event_id": "e2"})
    page = Page(shop)
    page.save(*EVERYTHING)
    assert "reported our messages" in page.text
    assert page.ticked == {"email.click_tracking", "sms.marketing"}


def test_tracking_is_a_choice_of_its_own(shop: Any) -> None:
    page = Page(shop)

    page.save(*(EVERYTHING - {"email.click_tracking"}))

    assert page.ticked == EVERYTHING - {"email.click_tracking"}
    assert ("c1", "email", "click_tracking", False, "express") in said(shop)


def test_without_the_warehouse_everything_can_still_be_closed(shop: Any) -> None:
    shop.opened.shop.close()
    for path in (shop.opened.project.folder / "data").iterdir():
        path.unlink()

    page = Page(shop)
    page.save("sms.marketing")

    assert "email.marketing" not in page.ticked
    assert ("a", "email", "unsubscribed") in shop.closed()
    assert shop.client.post(f"/u/{shop.opened.signer.unsubscribe(TEXT)}").status_code == 200
    assert ("a", "sms", "unsubscribed") in shop.closed()


def test_one_click_closes_every_id_and_is_told_once(shop: Any) -> None:
    path = f"/u/{shop.opened.signer.unsubscribe(MAIL)}"

    for _ in range(3):
        assert shop.client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200

    assert {row["subject"] for row in shop.rows(schema.suppressions) if row["subject"][0] == "p"} == {"p:c0", "p:c1"}
    assert told(shop) == [("email", "", True, "unsubscribed")] * len(told(shop))
    assert len(told(shop)) <= 2


def test_links_of_somebody_forgotten_lead_to_a_friendly_page_and_change_nothing(shop: Any) -> None:
    with shop.opened.ledger.writing() as conn:
        conn.execute(update(schema.messages).where(schema.messages.c.id == MAIL).values(customer_id="erased:ab"))
    signer = shop.opened.signer

    answers = [
        shop.client.get(f"/p/{signer.preferences(MAIL)}"), shop.client.post(f"/p/{signer.preferences(MAIL)}"),
        shop.client.get(f"/u/{signer.unsubscribe(MAIL)}"), shop.client.post(f"/u/{signer.unsubscribe(MAIL)}"),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [410] * 4
    assert "no longer" in answers[0].text
    assert (shop.closed(), shop.rows(schema.consents)) == (set(), [])
