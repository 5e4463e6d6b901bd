"""Everything a job needs, opened once from a project folder: the only place where connections are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tidings.channels.base import Provider
from tidings.channels.http import TimeLimits
from tidings.channels.make import Account, provider
from tidings.content.brand import BrandView
from tidings.content.links import Signer
from tidings.content.templates import Library
from tidings.definitions import Project, load
from tidings.errors import DefinitionError
from tidings.jobs.witness import FileWitness, Witness, Witnesses
from tidings.ledger.store import Ledger
from tidings.model.people import Channel
from tidings.settings import (
    Connections,
    Database,
    EnvConnections,
    Secrets,
    Settings,
    database_url,
    is_local,
    open_secrets,
)
from tidings.warehouse.reader import Warehouse, open_shop

LEDGER_FILE = "sqlite:///.tidings/ledger.sqlite"


@dataclass
class Opened:
    """A project with its databases and providers; each is opened when it is first asked for."""

    project: Project
    connections: Connections
    more_witnesses: tuple[Callable[[str], Witness], ...] = ()
    _closing: list[object] = field(default_factory=list)
    _strangers: dict[Channel, bool] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The shop's settings. Raises DefinitionError with the mistakes when tidings.yaml is broken."""
        return self.project.settings

    @cached_property
    def secrets(self) -> Secrets:
        """The shop's keys."""
        return open_secrets(self.settings, self.project.folder, self.connections)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, checked to be migrated."""
        opened = Ledger.open(ledger_url(self.project, self.connections))
        self._closing.append(opened)
        return opened

    @cached_property
    def witnesses(self) -> Witnesses:
        """What knows outside the ledger how far sending has come."""
        file = FileWitness(self.project.folder / self.settings.dispatch.witness)
        return Witnesses(file, *(make(self.settings.shop) for make in self.more_witnesses))

    @cached_property
    def shop(self) -> Warehouse:
        """The warehouse, read only."""
        url = None
        if self.settings.warehouse is not None:
            url = database_url(self.settings.warehouse, self.project.folder, self.connections)
        else:
            named = self.project.mapping.database
            if getattr(named, "connection", None):
                named_database = Database(connection=named.connection, url=None)
                url = database_url(named_database, self.project.folder, self.connections)
        opened = open_shop(self.project.mapping, self.project.folder, url)
        self._closing.append(opened)
        return opened

    @cached_property
    def brand(self) -> BrandView:
        """The shop as templates see it."""
        return self.settings.brand.view()

    @cached_property
    def library(self) -> Library:
        """The message templates, compiled when first used."""
        return Library(self.project.folder / "message_templates", self.brand)

    @cached_property
    def signer(self) -> Signer:
        """Signs and reads the tokens in links."""
        return Signer(self.secrets.link_keys, self.secrets.signing_key)

    def provider(self, channel: Channel, *, outbox: bool = False) -> Provider:
        """Return a new provider for a channel, as the settings choose it; ``outbox`` keeps messages instead."""
        choice = getattr(self.settings.providers, channel.value)
        folder = self.project.folder / ".tidings"
        if outbox or choice.name == "outbox":
            folder.mkdir(parents=True, exist_ok=True)
            return provider("outbox", Account(), channel=channel, outbox=folder / f"outbox-{channel.value}.jsonl")
        account = self.account(channel)
        return provider(choice.name, account, channel=channel, callback=self.status_callback)

    def account(self, channel: Channel) -> Account:
        """Return how to reach the channel's provider. Raises DefinitionError when the connection is missing."""
        choice = getattr(self.settings.providers, channel.value)
        dispatch = self.settings.dispatch
        limits = TimeLimits(dispatch.connect_timeout.total_seconds(), dispatch.timeout.total_seconds())
        known = self.connections.get(choice.connection_name)
        base_url = choice.base_url or known.host or None
        if base_url is not None and "://" not in base_url:
            base_url = f"https://{base_url}"
        return Account(
            login=str(known.extra.get("account_sid") or known.login or ""),
            secret=known.password or "",
            key=known.login if known.extra.get("account_sid") else None,
            base_url=base_url,
            connections=choice.connections,
            per_second=choice.rate,
            limits=limits,
        )

    def reaches_strangers(self, channel: Channel) -> bool:
        """Return whether the channel's provider delivers to real people: not the outbox, not a local stand-in."""
        known = self._strangers.get(channel)
        if known is None:
            known = self._strangers[channel] = self._reaches_strangers(channel)
        return known

    def _reaches_strangers(self, channel: Channel) -> bool:
        choice = getattr(self.settings.providers, channel.value)
        if choice.name == "outbox":
            return False
        base_url = choice.base_url
        if base_url is None:
            host = self.connections.get(choice.connection_name).host or ""
            base_url = host if not host or "://" in host else f"https://{host}"
        return not base_url or not is_local(base_url)

    def status_callback(self, message_id: str) -> str:
        """Return where a text's provider reports its status; the provider signs the whole address."""
        return f"{self.settings.public_url.rstrip('/')}/webhooks/twilio/status?d={message_id}"

    def close(self) -> None:
        """Close what was opened, newest first."""
        while self._closing:
            self._closing.pop().close()  # type: ignore[attr-defined]


@contextmanager
def open_project(
    folder: Path, connections: Connections | None = None, *more_witnesses: Callable[[str], Witness]
) -> Iterator[Opened]:
    """Open a project folder; nothing is connected before it is needed, everything is closed at the end.

    ``more_witnesses`` make, from the shop's id, places beside the file that know what was sent last.
    """
    opened = Opened(load(folder), connections or EnvConnections(), more_witnesses)
    try:
        yield opened
    finally:
        opened.close()


def ledger_url(project: Project, connections: Connections) -> str:
    """Return the SQLAlchemy URL of the project's ledger, the embedded one by default."""
    database = project.settings.ledger or Database(url=LEDGER_FILE, connection=None)
    if database.url == LEDGER_FILE:
        (project.folder / ".tidings").mkdir(parents=True, exist_ok=True)
    return database_url(database, project.folder, connections)


def known_sender(opened: Opened, channel: Channel) -> tuple[str, str | None, str | None]:
    """Return (sender, sender name, reply-to) of a channel. Raises DefinitionError when there is none."""
    senders = opened.settings.senders
    if channel is Channel.EMAIL:
        if senders.email is None:
            raise DefinitionError("tidings.yaml: senders.email: must be set to send e-mails; found nothing")
        return senders.email.address, senders.email.name or opened.settings.brand.name, senders.email.reply_to
    if senders.sms is None:
        raise DefinitionError("tidings.yaml: senders.sms: must be set to send texts; found nothing")
    return senders.sms.number or senders.sms.messaging_service or "", None, None
