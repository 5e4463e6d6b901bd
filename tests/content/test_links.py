"""Tokens that cannot be guessed, changed or read for a person, and targets a message may lead to."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.content.links import Links, Signer, Token, TokenKind, safe_url, utm, with_utm
from tidings.errors import DefinitionError, TemplateError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SHORT_ID = "AbCdEfGh-jKl_nOp"
ALPHABET = string.ascii_letters + string.digits + "-_"


@given(st.text(ALPHABET, min_size=1, max_size=32), st.integers(0, 119))
def test_every_token_is_read_back(message_id: str, n: int) -> None:
    signer = Signer({"a": OLD})

    assert signer.read(signer.click(message_id, n)) == Token(TokenKind.CLICK, message_id, n)
    assert signer.read(signer.unsubscribe(message_id)) == Token(TokenKind.UNSUBSCRIBE, message_id)
    assert signer.read(signer.preferences(message_id)) == Token(TokenKind.PREFERENCES, message_id)


def test_a_short_message_id_makes_a_token_of_40_characters_and_a_uuid_one_of_45() -> None:
    signer = Signer({"a": OLD})

    assert len(signer.click(SHORT_ID, 7)) == 40
    assert len(signer.click("0123456789abcdef" * 2, 7)) == 45


def test_no_single_character_of_a_token_can_be_changed() -> None:
    signer = Signer({"a": OLD})
    token = signer.click(SHORT_ID, 3)

    forged = [token[:at] + c + token[at + 1 :] for at in range(len(token)) for c in ALPHABET if c != token[at]]

    assert [signer.read(other) for other in forged] == [None] * len(forged)


@given(st.text(max_size=140))
def test_what_we_did_not_sign_is_nothing_and_never_an_exception(text: str) -> None:
    assert Signer({"a": OLD}).read(text) is None


def test_an_old_key_keeps_reading_after_rotation_and_a_removed_one_does_not() -> None:
    sent = Signer({"a": OLD}).unsubscribe(SHORT_ID)

    assert Signer({"a": OLD, "b": NEW}, current="b").read(sent) == Token(TokenKind.UNSUBSCRIBE, SHORT_ID)
    assert Signer({"b": NEW}).read(sent) is None
    assert Signer({"a": NEW}).read(sent) is None


def test_a_click_token_does_not_unsubscribe() -> None:
    signer = Signer({"a": OLD})

    assert {signer.read(signer.click(SHORT_ID, n)).kind for n in range(120)} == {TokenKind.CLICK}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keys", "current"),
    [({"ab": OLD}, None), ({"a": b"short"}, None), ({"a": OLD}, "b"), ({}, None)],
    ids=["long id", "short key", "unknown current", "no key"],
)
def test_keys_that_would_not_protect_are_refused(keys: dict[str, bytes], current: str | None) -> None:
    with pytest.raises(DefinitionError):
        Signer(keys, current)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://shop.example/p?a=1&b=%20#x", True), ("http://127.0.0.1:8080/x", True), ("https://shop.example/café", True),  # noqa: E501
        ("http://shop.example/", False), ("http://localhost/", False), ("javascript:alert(1)", False),
        ("JavaScript:alert(1)//https://", False), ("data:text/html,x", False), ("//shop.example", False), ("/cart", False),  # noqa: E501
        ("https://user:pw@shop.example/", False), ("https://shop.example/a b", False), ("https://shop.example/\r\nX: y", False),  # noqa: E501
        ('https://shop.example/"onmouseover=', False), ("https://", False), ("https://shop.example:port/", False),
        ("https:\\\\evil.example", False), ("", False), ("https://x.example/" + "a" * 2000, False),
    ],
)  # fmt: skip
def test_a_message_leads_only_to_https(url: str, allowed: bool) -> None:
    assert (safe_url(url) is not None) is allowed


def test_utm_parameters_are_added_once_and_the_shops_own_win() -> None:
    step = utm("email", "cart_abandonment", "reminder")

    assert with_utm("https://shop.example/p?utm_source=shop&x=1#top", step) == (
        "https://shop.example/p?utm_source=shop&x=1"
        "&utm_medium=email&utm_campaign=cart_abandonment&utm_content=reminder#top"
    )


def test_a_target_has_one_number_however_often_it_stands_in_the_message() -> None:
    links = Links(Signer({"a": OLD}), "https://t.example/", SHORT_ID)

    first, second = links.to("https://shop.example/1"), links.to("https://shop.example/2")

    assert links.to("https://shop.example/1") == first
    assert links.targets == ("https://shop.example/1", "https://shop.example/2")
    token = Signer({"a": OLD}).read(second.rpartition("/")[2])
    assert token == Token(TokenKind.CLICK, SHORT_ID, 1)


def test_without_tracking_consent_links_are_plain_and_opting_out_still_works() -> None:
    links = Links(Signer({"a": OLD}), "https://t.example", SHORT_ID, tracked=False, utm=utm("sms", "c", "s"))

    assert links.to("https://shop.example/1").startswith("https://shop.example/1?utm_source=tidings")
    assert links.unsubscribe_url.startswith("https://t.example/u/")


def test_a_message_with_too_many_targets_fails_alone() -> None:
    links = Links(Signer({"a": OLD}), "https://t.example", SHORT_ID)

    with pytest.raises(TemplateError, match="at most 120"):
        [links.to(f"https://shop.example/{n}") for n in range(121)]
