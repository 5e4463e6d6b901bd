"""What a receipt is held against: entries, versions, permissions and people, asked a batch at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import orjson
from sqlalchemy import Row

from tidings.errors import TemplateError
from tidings.jobs.digests import Digests, sent_to, words
from tidings.jobs.evidence import refs
from tidings.jobs.facts import ids_of
from tidings.jobs.opening import Opened
from tidings.jobs.rewriting import Letter, Rewriter, offered
from tidings.ledger import people as ledger_people
from tidings.ledger import receipts, stories
from tidings.ledger.erasing import EMPTIED
from tidings.ledger.receipts import Version, canonical, moment
from tidings.model.entry import Entry
from tidings.model.message import Status
from tidings.model.people import Channel, Consent, Customer
from tidings.plan.erased import ERASED
from tidings.warehouse import people as shop_people

Answer = Literal["yes", "no", "-"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: it holds, it does not, or it cannot be told (any more)."""

    name: str
    answer: Answer
    fact: str


class Witnesses:
    """Everything that a batch of receipts is held against. ``people`` also asks the warehouse.

    ``spoiled`` are versions that are known to be altered, by their names.
    """

    def __init__(
        self,
        opened: Opened,
        rows: Sequence[Row[Any]],
        *,
        people: bool,
        spoiled: Mapping[str, str] | None = None,
        rewriter: Rewriter | None = None,
    ) -> None:
        self.opened, self.people = opened, people
        self.spoiled = {} if spoiled is None else spoiled
        self.digests = Digests(opened.secrets.pepper)
        self.rewriter = rewriter or Rewriter(opened)
        self.said = {row.id: _read(row.evidence) for row in rows}
        wanted = sorted({one for said in self.said.values() if said for one in refs(said)})
        ids = {row.customer_id for row in rows if not row.customer_id.startswith(ERASED)}
        self.customers: Mapping[str, Customer] = shop_people.customers(opened.shop, ids) if people and ids else {}
        with opened.ledger.reading() as conn:
            self.versions: Mapping[str, Version] = receipts.versions_of(conn, wanted)
            self.entries: Mapping[str, tuple[Entry, str]] = stories.entries_of(conn, {row.entry_id for row in rows})
            known = {every for one in ids for every in ids_of(one, self.customers)}
            self.told = ledger_people.consents_of(conn, known) if people else []
            self.did = stories.engagements_of(conn, [row.id for row in rows]) if people else {}
        self.consents = self._consents(ids)

    def _consents(self, ids: set[str]) -> Mapping[str, list[Consent]]:
        if not self.people or not ids:
            return {}
        owner = {every: one for one in ids for every in ids_of(one, self.customers)}
        found: dict[str, list[Consent]] = defaultdict(list)
        for consent in (*shop_people.consents(self.opened.shop, ids), *self.told):
            found[owner.get(consent.customer_id, consent.customer_id)].append(consent)
        return found

    def provider(self, row: Row[Any]) -> Check:
        """Return what is known of the provider's acceptance, and of what happened then."""
        if row.held_out:
            return Check("provider", "-", "held out: nothing left")
        did = ", ".join(dict.fromkeys(one.kind for one in self.did.get(row.id, ()) if not one.machine))
        if row.status == Status.SENT and row.provider_id:
            return Check(
                "provider", "yes", f"accepted by {row.provider} as {row.provider_id}{f'; {did}' if did else ''}"
            )
        if row.status == Status.SENT:
            return Check("provider", "yes", f"accepted by {row.provider}: proved by {did or 'its own word later'}")
        return Check("provider", "-", f"{row.status}{f': {row.reason}' if row.reason else ''}")


def _read(evidence: str | None) -> dict[str, Any] | None:
    """Return what evidence says when it is written in the only way it can be; None otherwise."""
    try:
        said = orjson.loads(evidence or "")
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and canonical(said) == evidence else None


def receipt_checks(witnesses: Witnesses, row: Row[Any]) -> tuple[Check, ...]:
    """Return the checks of one receipt in the order in which a person would ask."""
    if row.evidence == EMPTIED:
        told = "the person was forgotten; that a message left is all that is kept"
        return (Check("receipt", "-", told),)
    said = witnesses.said.get(row.id)
    if row.urls is None or said is None:
        what = "there is none" if row.urls is None or row.evidence is None else "it cannot be read any more"
        return (Check("receipt", "no", what),)
    made = _made(witnesses, said)
    checks = [Check("receipt", "yes", f"written {_when(row.sending_at)}"), made]
    checks += [_entry(witnesses, row, said), _address(row, said), _allowed(said, row)]
    if not witnesses.people:
        return tuple(checks)
    checks.append(_consent(witnesses, row, said))
    if not row.held_out:
        checks.append(_words(witnesses, row, said) if made.answer == "yes" else Check("words", "-", "not written anew"))
    return tuple(checks)


def _made(witnesses: Witnesses, said: Mapping[str, Any]) -> Check:
    """Return whether everything the message was made of is kept, unaltered."""
    for one in refs(said):
        kept = witnesses.versions.get(one)
        if kept is None:
            return Check("made of", "no", f"version {one} is no longer kept")
        if one in witnesses.spoiled or receipts.ref(kept.kind, kept.name, kept.content) != one:
            return Check("made of", "no", f"version {one} ({kept.kind} {kept.name}) was altered")
    told = []
    for kind in ("campaign", "template"):
        kept = witnesses.versions[said["made"][kind]]
        told.append(f"{kind} {kept.name}{_commit(kept)}")
    products = len(said.get("shown", ())) + len(said.get("suggested", ()))
    return Check("made of", "yes", ", ".join([*told, *([f"{products} products"] if products > 1 else [])]))


def _commit(kept: Version) -> str:
    if kept.git_commit is None:
        return f" ({kept.ref[:8]})"
    commit, _, changed = kept.git_commit.partition("+")
    return f" (commit {commit[:8]}{', changed since' if changed else ''})"


def _entry(witnesses: Witnesses, row: Row[Any], said: Mapping[str, Any]) -> Check:
    found = witnesses.entries.get(row.entry_id)
    if found is None:
        return Check("occasion", "no", "the entry is no longer in the ledger")
    entry, variant = found
    if entry.customer_id.startswith(ERASED):
        return Check("occasion", "-", "the person was forgotten")
    if witnesses.digests.entry(entry) != said.get("entry") or variant != said.get("variant", ""):
        return Check("occasion", "no", "what the customer did is not what is kept of it now")
    return Check("occasion", "yes", f"what the customer did on {_when(entry.anchor_at)}")


def _address(row: Row[Any], said: Mapping[str, Any]) -> Check:
    if row.address_hash is None:
        return Check("address", "-", "no longer kept")
    same = sent_to(row.id, row.address_hash) == said.get("to")
    return Check("address", "yes" if same else "no", "the one it was meant for" if same else "is another one now")


def _allowed(said: Mapping[str, Any], row: Row[Any]) -> Check:
    gates = said.get("gates", {})
    consent = said.get("consent")
    now = datetime.fromisoformat(str(said["now"]))
    if consent is None and not gates.get("exempt"):
        return Check("gates", "no", "left without permission")
    if consent is not None and datetime.fromisoformat(consent["at"]) > now:
        return Check("gates", "no", "left before the permission was given")
    caps = ", ".join(_cap(one) for one in said.get("caps", ()))
    return Check("gates", "yes", f"open {gates.get('hours', '?')}; {f'caps used {caps}' if caps else 'no cap'}")


def _cap(one: str) -> str:
    used, _, most = one.partition("/")
    return f"{used} of {most}"


def _consent(witnesses: Witnesses, row: Row[Any], said: Mapping[str, Any]) -> Check:
    """Return whether the statement that allowed the message still stands where it was read."""
    proof = said.get("consent")
    if proof is None:
        return Check("consent", "yes", "not needed: part of an order")
    if row.customer_id.startswith(ERASED):
        return Check("consent", "-", "the person was forgotten")
    wording = witnesses.versions[proof["wording"]].content if "wording" in proof else None
    channel = Channel(row.channel)
    statements = [
        one
        for one in witnesses.consents.get(row.customer_id, ())
        if one.channel == channel and one.purpose == proof["purpose"]
    ]
    same = [
        one
        for one in statements
        if one.granted and moment(one.at) == proof["at"] and one.source == proof["from"] and one.wording == wording
    ]
    given, basis = _when(datetime.fromisoformat(proof["at"])), proof["basis"].replace("_", " ")
    told = f"{proof['purpose']} by {_channel(channel)}, {basis}, given {given}, in the {proof['from']}"
    if not same:
        return Check("consent", "no", f"{told}: there is no such row any more")
    later = max((one.at for one in statements if not one.granted and moment(one.at) > proof["at"]), default=None)
    return Check("consent", "yes", told + (f"; withdrawn {_when(later)}" if later else ""))


def _when(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %Y %H:%M} UTC"


def _channel(channel: Channel) -> str:
    return "e-mail" if channel is Channel.EMAIL else "SMS"


def _words(witnesses: Witnesses, row: Row[Any], said: Mapping[str, Any]) -> Check:
    """Return whether the message can be written once more, byte by byte."""
    customer, found = witnesses.customers.get(row.customer_id), witnesses.entries.get(row.entry_id)
    if row.customer_id.startswith(ERASED) or found is None:
        return Check("words", "-", "cannot be written anew: the person was forgotten")
    if customer is None:
        return Check("words", "-", "cannot be written anew: the warehouse no longer knows the customer")
    now = datetime.fromisoformat(said["now"])
    letter = Letter(row.id, row.campaign, row.step, Channel(row.channel), found[1], bool(row.tracked), found[0], now)
    try:
        offer = offered(said, witnesses.versions)
        again = witnesses.rewriter.write(letter, customer, said["made"], offer, witnesses.versions)
    except TemplateError as error:
        return Check("words", "-", f"cannot be written anew: {error}")
    if words(again) == said.get("words") and list(again.links) == orjson.loads(row.urls):
        return Check("words", "yes", f"the same {_size(again.html, again.text):,} bytes, written anew")
    before, after = said.get("who", {}), witnesses.digests.person(row.id, customer)
    by = orjson.loads(witnesses.versions[said["made"]["brand"]].content)["tidings"]
    if by != version("tidings"):
        return Check("words", "-", f"were written by Tidings {by}, which this is not")
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if moved:
        return Check("words", "-", f"the customer's data changed since: {', '.join(moved)}")
    return Check("words", "no", "are not those that the same template and data give")


def _size(html: str | None, text: str) -> int:
    return len(((html or "") + text).encode("utf-8", "surrogatepass"))
