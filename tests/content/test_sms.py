"""Segments as the provider bills them."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tidings.content.sms import Segments, gsm, plain, segments


def test_every_vector_of_the_providers_own_calculator_is_matched(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/sms_segment_vectors.json").read_text())["vectors"]

    found = [segments(vector["body"]) for vector in vectors]

    assert len(vectors) > 100
    assert [(f.encoding, f.count, f.units * (7 if f.encoding == "GSM-7" else 16)) for f in found] == [
        (vector["encoding"], vector["segments"], vector["message_bits"]) for vector in vectors
    ]


def test_an_extension_character_is_not_split_over_two_segments() -> None:
    text = "a" * 152 + "€" + "b" * 153

    assert segments(text) == Segments("GSM-7", 3, 307)


def test_an_empty_text_costs_nothing() -> None:
    assert segments("") == Segments("GSM-7", 0, 0)


def test_typography_is_spelled_plainly() -> None:
    assert plain("It’s “here” – now… 12\u00a0€") == 'It\'s "here" - now... 12 €'


def test_letters_that_gsm_lacks_lose_their_marks_and_the_others_keep_them() -> None:
    assert gsm("João, Łódź, façade, Zoë, é") == "Joao, Lodz, facade, Zoe, é"


def test_what_has_no_base_letter_stays_as_it_is() -> None:
    assert gsm("Ж 😀") == "Ж 😀"


@given(st.text(max_size=400))
def test_a_text_is_never_billed_for_fewer_segments_than_its_units_need(text: str) -> None:
    found = segments(text)

    alone, joined = (160, 153) if found.encoding == "GSM-7" else (70, 67)
    assert found.count >= -(-found.units // joined) or found.units <= alone
    assert found.count <= 1 or found.units > alone
