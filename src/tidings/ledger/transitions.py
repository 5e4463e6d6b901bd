"""How a message's status may change, as data: the statements obey it, tests and the model checker read it."""

from __future__ import annotations

from dataclasses import dataclass

from tidings.model.message import Status


@dataclass(frozen=True, slots=True)
class Transition:
    """One allowed change. ``fenced``: only the holder of the message's token may make it.

    ``at_least_once``: only for campaigns whose ``delivery_semantics`` say so. ``attempts``: only while fewer than so
    many attempts were made. ``doubted``: only for messages that were offered again, so that an earlier attempt may
    still turn out to have been taken (they keep their ``sending_at``).
    """

    name: str
    before: Status
    after: Status
    fenced: bool
    at_least_once: bool = False
    attempts: int | None = None
    doubted: bool = False


P, C, S = Status.PLANNED, Status.CLAIMED, Status.SENDING
# At least once means one more attempt, not one more until it works.
MOST_ATTEMPTS = 2

TRANSITIONS: tuple[Transition, ...] = (
    Transition("claim", P, C, False),
    Transition("let_go", C, P, True),
    Transition("defer", C, P, True),
    Transition("end", C, Status.SKIPPED, True),
    Transition("end", C, Status.CANCELLED, True),
    Transition("end", C, Status.EXPIRED, True),
    Transition("end", C, Status.FAILED, True),
    Transition("end", C, Status.PRESUMED_LOST, True, doubted=True),
    Transition("begin_sending", C, S, True),
    Transition("begin_sending", C, Status.HELD_OUT, True),
    Transition("record sent", S, Status.SENT, False),
    Transition("record retry", S, P, True),
    Transition("record failed", S, Status.FAILED, True),
    Transition("record unknown", S, Status.UNKNOWN, True),
    # Proof that the provider took it beats the fence, whoever brings it and however late.
    Transition("proof", S, Status.SENT, False),
    Transition("proof", Status.UNKNOWN, Status.SENT, False),
    Transition("proof", Status.PRESUMED_LOST, Status.SENT, False),
    Transition("proof", P, Status.SENT, False, doubted=True),
    Transition("proof", C, Status.SENT, False, doubted=True),
    Transition("reap", C, P, False),
    # Never back to planned: the sender may only be asleep, and may still send.
    Transition("reap", S, Status.UNKNOWN, False),
    Transition("presume_lost", Status.UNKNOWN, Status.PRESUMED_LOST, False),
    Transition("offer_again", Status.UNKNOWN, P, False, at_least_once=True, attempts=MOST_ATTEMPTS),
    # After a restore: it may have left in the stretch that the ledger has forgotten.
    Transition("doubt", P, Status.PRESUMED_LOST, False),
    Transition("doubt", C, Status.PRESUMED_LOST, False),
    Transition("cancel_for", P, Status.CANCELLED, False),
    Transition("cancel_for", C, Status.CANCELLED, False),
    Transition("cancel_for", P, Status.PRESUMED_LOST, False, doubted=True),
    Transition("cancel_for", C, Status.PRESUMED_LOST, False, doubted=True),
)

BORN: frozenset[Status] = frozenset({P, Status.SKIPPED, Status.EXPIRED})
PROVABLE: tuple[Status, ...] = (S, Status.UNKNOWN, Status.PRESUMED_LOST)
ENDS: frozenset[Status] = frozenset(
    {Status.SENT, Status.HELD_OUT, Status.SKIPPED, Status.EXPIRED, Status.CANCELLED, Status.FAILED}
)


def allowed(before: Status, after: Status) -> bool:
    """Return whether some transition leads from one status to the other."""
    return any(one.before == before and one.after == after for one in TRANSITIONS)
