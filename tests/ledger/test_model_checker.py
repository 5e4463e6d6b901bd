"""Every interleaving of two workers, a reaper that may fire at any moment, webhooks and replanning: accepted once.

The moves come from the real table of transitions, so a change there is checked here. A worker may crash between any
two steps (it forgets what it held and starts again), sleep as long as it likes, and lose any answer. Bounded to two
attempts and four tokens, explored breadth first, so that a bad trace is a shortest one: evidence, not a proof for
runs without bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

from tidings.ledger.transitions import TRANSITIONS, Transition
from tidings.model.message import Status

ATTEMPTS, TOKENS, PLANNER_RUNS = 2, 4, 2
P, C, S, U = Status.PLANNED, Status.CLAIMED, Status.SENDING, Status.UNKNOWN
# Who makes a transition; a name that is in none of these groups makes the checker fail.
BY_HOLDER = ("let_go", "defer", "end", "begin_sending")
BY_ANSWER = {"record sent": "taken", "record retry": "refused", "record failed": "rejected", "record unknown": "lost"}
AT_ANY_TIME = ("reap", "presume_lost", "offer_again", "doubt", "cancel_for", "requeue", "requeue if not found")


class Worker(NamedTuple):
    """``holding``: claimed under a token; ``begun``: may post; an answer: what came back, not yet recorded."""

    at: str = "idle"
    token: int = 0


class State(NamedTuple):
    status: Status = P
    token: int = 0
    tokens: int = 0
    attempts: int = 0
    doubted: bool = False
    accepts: int = 0
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    planners: int = PLANNER_RUNS

    def let(self, who: int, worker: Worker) -> State:
        both = (worker, self.workers[1]) if who == 0 else (self.workers[0], worker)
        return self._replace(workers=both)


@dataclass(frozen=True)
class Design:
    """A table of transitions, whether it is one-phase (claim, then HTTP), and what the planner does to a row."""

    table: tuple[Transition, ...]
    one_phase: bool = False
    at_least_once: bool = False
    upsert: bool = False

    def moves(self, name: str) -> Iterator[Transition]:
        for one in self.table:
            if one.name == name and (self.at_least_once or not (one.at_least_once or one.doubted)):
                yield one


Step = tuple[str, State]


def after(state: State, move: Transition) -> State:
    """The row once the statement has been committed, as the statements of the ledger leave it."""
    kept = 0 if move.after is P else state.token
    doubted = state.doubted or move.name == "offer_again"
    return state._replace(status=move.after, token=kept, doubted=doubted and move.name != "record retry")


def applies(state: State, move: Transition, token: int | None = None) -> bool:
    if move.before != state.status or (move.doubted and not state.doubted):
        return False
    if move.attempts is not None and state.attempts >= move.attempts:
        return False
    return not move.fenced or token == state.token


def steps(state: State, design: Design) -> Iterator[Step]:
    """Every next step: two workers, the environment, planners."""
    for who, worker in enumerate(state.workers):
        yield from worker_steps(state, design, who, worker)
        if worker.at != "idle":
            yield f"w{who} crashes", state.let(who, Worker())
    for name in AT_ANY_TIME:
        for move in design.moves(name):
            if applies(state, move) and (name != "requeue if not found" or not state.accepts):
                yield f"{name} -> {move.after}", after(state, move)
    if state.accepts:
        for move in design.moves("proof"):
            if applies(state, move):
                yield "webhook proves it", after(state, move)
    if state.planners:
        again = state._replace(planners=state.planners - 1)
        yield "planner runs again", again._replace(status=P, token=0) if design.upsert else again


def worker_steps(state: State, design: Design, who: int, worker: Worker) -> Iterator[Step]:
    done = state.let(who, Worker())
    match worker.at:
        case "idle":
            for move in design.moves("claim"):
                if applies(state, move) and state.tokens < TOKENS:
                    token = state.tokens + 1
                    held = after(state, move)._replace(tokens=token, token=token)
                    yield f"w{who} claims", held.let(who, Worker("holding", token))
        case "holding":
            yield from holder_steps(state, design, who, worker)
        case "begun":
            for answer, accepts in (("taken", 1), ("lost", 1), ("lost", 0), ("refused", 0), ("rejected", 0)):
                said = "202" if accepts else "refused"
                posted = state._replace(accepts=state.accepts + accepts, attempts=state.attempts + design.one_phase)
                told = f"w{who} posts: {said}{', answer lost' if answer == 'lost' else ''}"
                yield told, posted.let(who, Worker(answer, worker.token))
        case answer:
            recorded = False
            for name, told in BY_ANSWER.items():
                for move in design.moves(name) if told == answer else ():
                    if applies(state, move, worker.token):
                        recorded = True
                        yield f"w{who} records {answer}", after(done, move)
            for move in design.moves("proof") if answer == "taken" and not recorded else ():
                if applies(state, move):
                    recorded = True
                    yield f"w{who} proves it late", after(done, move)
            if not recorded:
                yield f"w{who} finds nothing to record", done


def holder_steps(state: State, design: Design, who: int, worker: Worker) -> Iterator[Step]:
    done = state.let(who, Worker())
    if design.one_phase:
        if state.attempts < ATTEMPTS:
            yield f"w{who} is about to post", state.let(who, Worker("begun", worker.token))
        return
    begun = False
    for name in BY_HOLDER:
        for move in design.moves(name):
            if not applies(state, move, worker.token):
                continue
            if move.after is not S:
                yield f"w{who} {name} -> {move.after}", after(done, move)
            elif state.attempts < ATTEMPTS:
                begun = True
                sending = after(state, move)._replace(attempts=state.attempts + 1, doubted=False)
                yield f"w{who} begins sending", sending.let(who, Worker("begun", worker.token))
    if not begun:
        yield f"w{who} finds it is no longer theirs", done


class Explored(NamedTuple):
    states: frozenset[State]
    accepts: int
    trace: tuple[str, ...]


def explore(design: Design, too_many: int = 2) -> Explored:
    """Walk every state; stop at the first that was accepted too often, and tell the shortest way there."""
    start = State()
    came: dict[State, tuple[State, str] | None] = {start: None}
    ring = [start]
    while ring:
        further: list[State] = []
        for state in ring:
            for told, found in steps(state, design):
                if found in came:
                    continue
                came[found] = (state, told)
                if found.accepts >= too_many:
                    return Explored(frozenset(came), found.accepts, tuple(way(came, found)))
                further.append(found)
        ring = further
    return Explored(frozenset(came), max(one.accepts for one in came), ())


def way(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    told: list[str] = []
    while (step := came[state]) is not None:
        state, words = step
        told.append(words)
    return told[::-1]


def one_phase() -> Design:
    """Claim, then HTTP: what is recorded from `sending` is recorded from `claimed`, and there is no second commit."""
    moved = (
        replace(one, before=C) if one.before is S and one.name.startswith("record") else one for one in TRANSITIONS
    )
    gone = ("begin_sending", "let_go", "defer", "end")
    return Design(tuple(one for one in moved if one.name not in gone), one_phase=True)


REAL = Design(TRANSITIONS)
TEMPTING = {
    "one phase": one_phase(),
    "replanning resets the row": Design(TRANSITIONS, upsert=True),
    "unknown is always offered again": Design((*TRANSITIONS, Transition("requeue", U, P, False))),
    "offered again when a look-up finds nothing": Design(
        (*TRANSITIONS, Transition("requeue if not found", U, P, False))
    ),
}
SHORTEST = {
    "one phase": [
        "w0 claims",
        "w0 is about to post",
        "w0 posts: 202",
        "reap -> planned",
        "w1 claims",
        "w1 is about to post",
        "w1 posts: 202",
    ],
    "replanning resets the row": [
        "w0 claims",
        "w0 begins sending",
        "w0 posts: 202",
        "planner runs again",
        "w1 claims",
        "w1 begins sending",
        "w1 posts: 202",
    ],
    "unknown is always offered again": [
        "w0 claims",
        "w0 begins sending",
        "w0 posts: 202",
        "reap -> unknown",
        "requeue -> planned",
        "w1 claims",
        "w1 begins sending",
        "w1 posts: 202",
    ],
    "offered again when a look-up finds nothing": [
        "w0 claims",
        "w0 begins sending",
        "reap -> unknown",
        "requeue if not found -> planned",
        "w0 posts: 202",
        "w1 claims",
        "w1 begins sending",
        "w1 posts: 202",
    ],
}


def test_the_checker_knows_who_makes_each_transition() -> None:
    known = {*BY_HOLDER, *BY_ANSWER, *AT_ANY_TIME, "claim", "proof"}

    assert {one.name for one in TRANSITIONS} <= known


def test_whatever_happens_in_whatever_order_the_provider_accepts_at_most_once(record_property: object) -> None:
    found = explore(REAL)

    assert callable(record_property)
    record_property("states", len(found.states))
    print(f"{len(found.states)} states")
    assert len(found.states) > 400
    assert (found.accepts, found.trace) == (1, ())


def test_what_was_accepted_is_never_called_anything_else() -> None:
    for state in explore(REAL).states:
        if state.accepts:
            assert state.status in (S, Status.SENT, U, Status.PRESUMED_LOST), state
        if state.status is Status.SENT:
            assert state.accepts, state


def test_at_least_once_sends_twice_at_most() -> None:
    found = explore(Design(TRANSITIONS, at_least_once=True), too_many=3)

    assert found.accepts == 2


@pytest.mark.parametrize("name", TEMPTING)
def test_a_tempting_design_sends_twice(name: str) -> None:
    found = explore(TEMPTING[name])

    print(f"{name}: {len(found.states)} states, " + "; ".join(found.trace))
    assert found.accepts == 2
    assert sum("202" in told for told in found.trace) == 2
    assert len(found.trace) <= 9


@pytest.mark.parametrize("name", TEMPTING)
def test_the_shortest_bad_trace(name: str) -> None:
    assert list(explore(TEMPTING[name]).trace) == SHORTEST[name]
