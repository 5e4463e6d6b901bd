"""What a person can get wrong, told in one line: the place, the rule, and what was found."""

from __future__ import annotations


class TidingsError(Exception):
    """A mistake a person can mend; printed as one line, exit code 2, no traceback."""


class DefinitionError(TidingsError):
    """A project file says something that is not allowed."""


class WarehouseError(TidingsError):
    """The shop's warehouse is missing, locked, out of date or not shaped as mapped."""


class LedgerError(TidingsError):
    """The ledger is missing, locked, read-only or behind in migrations."""


class TemplateError(TidingsError):
    """A message template cannot be rendered for this customer; only this message fails."""


class Retry(Exception):
    """The provider certainly did not take the message; it may be offered again later.

    ``after`` is the wait in seconds the provider asked for, if it did. ``throttled``: it was only too fast, which
    says nothing about the message, so no attempt of it is used up.
    """

    def __init__(self, reason: str, after: float | None = None, *, throttled: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.throttled = throttled


class Reject(Exception):
    """The provider will never take this message; ``reason`` goes to the ledger.

    ``suppress`` names why the address must not be used again, when the refusal proves it.
    """

    def __init__(self, reason: str, suppress: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.suppress = suppress


class Unknown(Exception):
    """The answer was lost or ambiguous; only proof from the provider settles it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Halt(Exception):
    """The provider refuses our account; nothing more is offered until a person has looked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
