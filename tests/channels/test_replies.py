"""What a text asks for is told from the whole of it: lookalikes hide no stop, and a sentence is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.channels.replies import Wish, answered_by_twilio, read, rules, wish
from tidings.channels.twilio import inbound

STOPS = [
    "STOP", " stop. ", '"Stop!"', "StopAll", "unsubscribe", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT", "opt-out",
    "ЅТОР", "SТOP", "ΣΤΟΡ", "ＳＴＯＰ", "𝐒𝐓𝐎𝐏", "ST0P", "S T O P", "s.t.o.p.", "s\u200btop", "STÓP", "🛑 STOP 🛑",
    "please stop", "Stop, please. Thanks!", "stop texting me", "STOP TEXTING ME NOW", "stop sending me messages",
    "Don't text me again", "do not contact me", "remove me from your list", "unsubscribe me from all lists",
    "no more texts please", "I want to opt out", "I revoke my consent", "stop\nSent from my phone", "stop\n--\nAnn",
    "Kündigen", "STOPP", "keine SMS mehr", "Arrêt", "ARRET", "désabonner", "Alto", "¡BAJA!", "lopeta", "Стоп", "basta",
    "afmelden", "avsluta",
]  # fmt: skip
OTHERS = [
    "", " ", "🙂", "🛑", "please stop by", "stop by the shop", "I will stop by the shop tomorrow", "don't stop",
    "Don't stop the music", "can't stop looking at the lamp", "is the bus stop near your shop?", "non-stop",
    "full stop",
    "when does the sale end", "cancel my order", "please cancel order 1234", "stop at 5 pm", "does this end soon?",
    "STOP is what my friend says", "I never said STOP", "start by telling me the price", "helpful", "no", "thanks",
    "yes but how much", "x" * 5000, "stop " * 200, "stopped", "unstoppable",
]  # fmt: skip


@pytest.mark.parametrize("text", STOPS)
def test_a_text_that_is_nothing_but_a_stop_is_one(text: str) -> None:
    assert wish(text) is Wish.STOP


@pytest.mark.parametrize("text", OTHERS)
def test_a_stop_inside_something_else_is_none(text: str) -> None:
    assert wish(text) is Wish.OTHER


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("START", Wish.START), ("unstop", Wish.START), ("YES", Wish.YES), ("yes!", Wish.YES), ("Kyllä", Wish.YES),
        ("oui merci", Wish.YES), ("HELP", Wish.HELP), ("info", Wish.HELP), ("Hilfe", Wish.HELP),
    ],
)  # fmt: skip
def test_other_wishes_have_their_words(text: str, asked: Wish) -> None:
    assert wish(text) is asked


def test_twilios_own_reading_wins() -> None:
    assert wish("anything", "STOP") is Wish.STOP
    assert wish("stop", "HELP") is Wish.HELP
    assert answered_by_twilio(" stop ")
    assert answered_by_twilio("arrêt", "STOP")
    assert not answered_by_twilio("please stop")


@given(st.text(max_size=60))
def test_no_text_breaks_the_rules(text: str) -> None:
    assert wish(text) in Wish


@given(st.sampled_from(["stop", "unsubscribe", "lopeta"]), st.text(alphabet=" .,!?\"'()-_*\n\t🛑😡", max_size=8))
def test_marks_around_a_word_hide_nothing(word: str, marks: str) -> None:
    assert wish(f"{marks}{word.upper()}{marks[::-1]}") is Wish.STOP


def test_a_word_with_two_meanings_is_refused() -> None:
    text = (
        'version = "1"\n[twilio]\n[stop]\nen=["a"]\n[start]\nen=["A"]\n[yes]\n[help]\n[stop_patterns]\n'
        "[polite]\nwords=[]\n[signature]\nbegins=[]\n[lookalikes]\n"
    )

    with pytest.raises(ValueError, match="must mean one thing"):
        read(text)
    assert rules().version >= "2026"


def test_the_words_are_kept_only_when_nobody_understands_them() -> None:
    texts = [
        inbound({"From": "whatsapp:+358401234567", "Body": body, "MessageSid": "SM1"}) for body in ("stop", "huh?")
    ]

    assert [(one.sender, one.words) for one in texts if one] == [("+358401234567", ""), ("+358401234567", "huh?")]
