"""What messages are made from, named by content: each version is handed over once, with its Git commit if any."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import orjson

from tidings.content.brand import BrandView, Palette
from tidings.content.context import ProductFacts
from tidings.content.templates import Template
from tidings.definitions import Campaign
from tidings.jobs.digests import Digests
from tidings.jobs.opening import Opened
from tidings.ledger.receipts import Version, canonical, ref

CHANGED = "+changed"  # behind a commit: the file was not what the commit has
_GIT_SECONDS = 5
_MOST_PRODUCTS = 50_000
# What of the settings decides about a message; no allow-list, which holds addresses, and no connections.
_POLICY = {
    "arbitration_window", "caps", "consent", "production", "quiet_hours", "senders", "shop", "utm_source", "public_url",
}  # fmt: skip


class Versions:
    """The versions that one lane has met, and the shop's digests."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self.digests = Digests(opened.secrets.pepper)
        # One thread names what the next batch is made of, another takes what this one was.
        self._lock = threading.Lock()
        self._new: list[Version] = []
        self._met: set[str] = set()
        self._campaigns: dict[str, str] = {}
        self._templates: dict[int, tuple[Template, str]] = {}
        self._products: dict[ProductFacts, str] = {}
        self._wordings: dict[str, str] = {}
        self._files = Repository(opened.project.folder)

    def take(self) -> list[Version]:
        """Return what has been met since the last time this was asked; it must be kept before a receipt names it."""
        with self._lock:
            new, self._new = self._new, []
        return new

    def meet(self, campaign: Campaign, template: Template) -> None:
        """Name what many messages are made of, ahead of them: the first time, Git is asked."""
        self.campaign(campaign)
        self.template(template)
        _ = self.brand

    def campaign(self, one: Campaign) -> str:
        """Return the name of a campaign as it holds: its file with what the shop says for all."""
        known = self._campaigns.get(one.id)
        if known is None:
            files = [f"triggers/{one.name}{end}" for end in (".yaml", ".yml")]
            content = canonical(one.model_dump(mode="json") | {"detect": {"type": one.detect.type_name, **_said(one)}})
            known = self._campaigns[one.id] = self._keep("campaign", one.id, content, files)
        return known

    def template(self, one: Template) -> str:
        """Return the name of a template with its layout and parts."""
        known = self._templates.get(id(one))
        if known is None:
            files = [f"{self._opened.library.folder.name}/{name}" for name, _ in one.files]
            content = canonical({"channel": one.channel, "files": one.files})
            known = self._templates[id(one)] = (one, self._keep("template", one.name, content, files))
        return known[1]

    @cached_property
    def brand(self) -> str:
        """The name of the shop's words, colours and rules, as they hold for this lane."""
        settings = self._opened.settings
        policy = settings.model_dump(mode="json", include=_POLICY)
        said = {
            "brand": asdict(self._opened.brand), "key": self._opened.secrets.signing_key, "policy": policy,
            "tidings": version("tidings"),
        }  # fmt: skip
        return self._keep("brand", settings.shop, canonical(said), ["tidings.yaml"])

    def product(self, one: ProductFacts) -> str:
        """Return the name of a product as it is shown."""
        known = self._products.get(one)
        if known is None:
            if len(self._products) >= _MOST_PRODUCTS:
                self._products.clear()
            known = self._products[one] = self._keep("product", one.sku, canonical(one))
        return known

    def wording(self, text: str) -> str:
        """Return the name of what somebody was shown when they agreed."""
        known = self._wordings.get(text)
        if known is None:
            known = self._wordings[text] = self._keep("wording", "", text)
        return known

    def _keep(self, kind: str, name: str, content: str, files: Iterable[str] = ()) -> str:
        # PostgreSQL keeps no NUL.
        name, content = name.replace("\0", "")[:200], content.replace("\0", "")
        found = ref(kind, name, content)
        if found not in self._met:
            made = Version(found, kind, name, content, self._files.commit_of(files))
            with self._lock:
                self._met.add(found)
                self._new.append(made)
        return found


def _said(campaign: Campaign) -> dict[str, object]:
    said: dict[str, object] = campaign.detect.model_dump(mode="json")
    return said


def brand_from(content: str) -> BrandView:
    """Return the brand that a version keeps."""
    said = orjson.loads(content)["brand"]
    return BrandView(**{**said, "light": Palette(**said["light"]), "dark": Palette(**said["dark"])})


def product_from(content: str) -> ProductFacts:
    """Return the product that a version keeps."""
    return ProductFacts(**orjson.loads(content))


class Repository:
    """The Git repository around a project's folder, asked once; a folder without one has no commits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit_of(self, files: Iterable[str]) -> str | None:
        """Return the commit whose files these are, with ``+changed`` when one of them differs from it.

        None without a repository, and for files that it does not know. Of several names only those count that exist.
        """
        there = [file for file in files if (self._folder / file).is_file()]
        if not there or self._commit is None or not self._known.issuperset(there):
            return None
        return self._commit + ("" if self._changed.isdisjoint(there) else CHANGED)

    @cached_property
    def _commit(self) -> str | None:
        said = self._asked("rev-parse", "--verify", "HEAD")
        return said.strip() or None

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._asked("ls-files", "-z", "--", ".").split("\0"))

    @cached_property
    def _changed(self) -> frozenset[str]:
        return frozenset(self._asked("diff", "--name-only", "--relative", "-z", "HEAD", "--", ".").split("\0"))

    def _asked(self, *words: str) -> str:
        environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        try:
            told = subprocess.run(
                ["git", *words], cwd=self._folder, env=environ, capture_output=True, timeout=_GIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return told.stdout.decode("utf-8", "replace") if told.returncode == 0 else ""
