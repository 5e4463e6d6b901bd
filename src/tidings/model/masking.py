"""The last net under "no person in a log": addresses and numbers are masked in whatever is about to be said."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

_EMAIL = re.compile(r"[^\s@<>\"'`,;:()\[\]{}=|\\/]+@[^\s@<>\"'`,;:()\[\]{}|\\/]+\.[^\s@<>\"'`,;:()\[\]{}|\\/.]+")
# E.164 as we hold every number; a number without its plus is nobody's in particular.
_PHONE = re.compile(r"(?<![\w.])(?:\+|%2B)[1-9]\d{6,14}(?!\d)")


def masked(text: str) -> str:
    """Return the text with e-mail addresses and E.164 numbers taken out."""
    if "@" in text:
        text = _EMAIL.sub("[address]", text)
    return _PHONE.sub("[number]", text) if "+" in text or "%2B" in text else text


def mask_logs() -> None:
    """Mask every log record of this process from now on, its traceback too. Calling it twice changes nothing.

    In the factory and not in a filter: what a handler that is added later writes has passed here too.
    """
    made = logging.getLogRecordFactory()
    if not isinstance(made, _Masked):
        logging.setLogRecordFactory(_Masked(made))


class _Masked:
    """A record factory over another."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __call__(self, *given: Any, **named: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._made(*given, **named)
        try:
            said = record.getMessage()
        except Exception:  # arguments that do not fit the message: the handler complains about the shape, not here
            said = str(record.msg)
        plain = masked(said)
        if plain != said:
            record.msg, record.args = plain, ()
        if record.exc_info and record.exc_info[0] is not None:
            _mask_traceback(record)
        return record


def _mask_traceback(record: logging.LogRecord) -> None:
    """Put a masked traceback in the place of one that names somebody; others stay as they are."""
    assert record.exc_info
    told = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    plain = masked(told)
    if plain != told:
        record.msg, record.args = f"{record.getMessage()}\n{plain}", ()
        record.exc_info, record.exc_text = None, None
