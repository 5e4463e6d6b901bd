"""The few pages a recipient may see: the shop's own look, no script, nobody's name or address."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources

from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from starlette.responses import HTMLResponse

from tidings.content.brand import BrandView, Palette
from tidings.jobs.take_webhook import Choices
from tidings.model.people import Channel

_NAMES = ("frame.html", "message.html", "confirm.html", "preferences.html", "public.css")
_CHANNELS = {Channel.EMAIL: ("E-mail", "e-mails"), Channel.SMS: ("Text messages", "text messages")}


class Pages:
    """Renders the pages of one brand."""

    def __init__(self, brand: BrandView) -> None:
        folder = resources.files("tidings.web").joinpath("public_pages")
        texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _NAMES}
        self._templates = ImmutableSandboxedEnvironment(
            loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._brand = brand
        self.style = f"{_tokens(brand)}\n{texts['public.css']}"

    def confirm(self, choices: Choices) -> HTMLResponse:
        """Ask whether to stop; nothing is changed by looking."""
        words = _CHANNELS[choices.channel][1]
        return self._page("confirm.html", title=f"Stop {words}?", words=words, done=not choices.open[choices.channel])

    def unsubscribed(self) -> HTMLResponse:
        """Say that it is done."""
        return self._page(
            "message.html",
            title="You are unsubscribed",
            text=f"{self._brand.name} will not write to you here again. A message already on its way may still arrive.",
        )

    def preferences(self, choices: Choices, *, saved: bool = False) -> HTMLResponse:
        """Show what is chosen, per channel."""
        rows = [(channel.value, _CHANNELS[channel][0], choices.open[channel]) for channel in Channel]
        return self._page("preferences.html", title="Choose what we send", rows=rows, saved=saved)

    def missing(self) -> HTMLResponse:
        """Say that a link leads nowhere, and to nobody more than that."""
        text = "It may be incomplete. Please open it from the message again, or go to the shop."
        return self._page("message.html", title="This link does not work", text=text, status=404, home=True)

    def _page(self, name: str, *, status: int = 200, home: bool = False, **words: object) -> HTMLResponse:
        text = self._templates.get_template(name).render(brand=self._brand, home=home, **words)
        return HTMLResponse(text, status)


def _tokens(brand: BrandView) -> str:
    def colours(palette: Palette) -> str:
        return " ".join(f"--{name.replace('_', '-')}: {value};" for name, value in asdict(palette).items())

    return (
        f":root {{ {colours(brand.light)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {colours(brand.dark)} }} }}"
    )
