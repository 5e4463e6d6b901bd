"""What is masked in logs, and what is left alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.masking import mask_logs, masked


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("no mail to anna.b+c@shop.example.", "no mail to [address]."),
        ("{'to': '+358501234567'}", "{'to': '[number]'}"),
        ("To=%2B358501234567&d=1", "To=[number]&d=1"),
        ("planned campaign=cart found=12 at 2026-03-02T09:00:00+00:00", None),
        ("8f6c9a0e1b2c4d5e8f6c9a0e1b2c4d5e claimed 3 + 4", None),
        ("<anna@post.example>, bo@post.example", "<[address]>, [address]"),
    ],
    ids=["address", "number", "encoded number", "a time zone", "an id", "several"],
)
def test_addresses_and_numbers_are_masked_and_ids_and_times_are_not(said: str, left: str | None) -> None:
    assert masked(said) == (said if left is None else left)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}@[a-z0-9]{1,10}\.[a-z]{2,6}", fullmatch=True),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    st.sampled_from([" ", "'", '"', "(", ", ", "\n", "="]),
)
def test_no_address_and_no_number_gets_through(address: str, number: str, before: str) -> None:
    said = masked(f"x{before}{address}{before}{number}{before}y")

    assert address not in said
    assert number not in said


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    before, heard = logging.getLogRecordFactory(), io.StringIO()
    logger, handler = logging.getLogger("tests.masking"), logging.StreamHandler(heard)
    logger.addHandler(handler)
    mask_logs()
    mask_logs()
    yield logger, heard
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_arguments_and_tracebacks_are_masked_too(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, heard = log

    try:
        raise ValueError("could not convert anna@post.example")
    except ValueError:
        logger.exception("a row of %s was refused", "+358501234567")

    assert "anna" not in heard.getvalue()
    assert "+358" not in heard.getvalue()
    assert "ValueError: could not convert [address]" in heard.getvalue()
