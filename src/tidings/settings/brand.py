"""Who writes: what every message says about its sender, and in which colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from tidings.content.brand import DARK, LIGHT, BrandView
from tidings.content.brand import Palette as Look
from tidings.fields import Amounts
from tidings.settings import words
from tidings.settings.words import Section


class Palette(Section):
    """Colours of the e-mails, in place of the default look."""

    canvas: words.Colour | None = Field(None, description="Behind the paper")
    paper: words.Colour | None = Field(None, description="Behind the text")
    text: words.Colour | None = Field(None, description="Headings and sentences")
    muted: words.Colour | None = Field(None, description="Notes and the footer")
    line: words.Colour | None = Field(None, description="Rules between parts")
    button: words.Colour | None = Field(None, description="The button")
    button_text: words.Colour | None = Field(None, description="The words on the button")
    image_box: words.Colour | None = Field(None, description="Behind a picture until it is loaded; light serves both")
    alt: words.Colour | None = Field(None, description="A picture's words when it is not shown; light serves both")


class Colours(Section):
    """The palette in light and in dark mail programs."""

    light: Palette = Field(default_factory=Palette, description="In light mail programs")
    dark: Palette = Field(default_factory=Palette, description="In dark mail programs")


class Brand(Section):
    """Who writes: what every message says about the sender."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="The name people know")
    legal_name: Annotated[str, Field(min_length=1)] = Field(description="The company, as the footer states it")
    postal_address: Annotated[str, Field(min_length=5)] = Field(
        description="A real postal address; the law asks for it"
    )
    url: words.WebAddress = Field(description="The shop's front page")
    zone: words.Zone = Field(description="The shop's time zone; reports and unknown customers use it")
    currency: words.Currency = Field(description="The shop's own currency")
    locale: words.Locale = Field("en", description="How money and dates are written when a customer has no locale")
    country: words.Country = Field(description="Where the shop is; used when a customer has no country")
    colours: Colours = Field(default_factory=Colours, description="Colours in place of the default look")
    delivery: str = Field("", description='One line, such as "2 to 4 working days, free over €75"')
    returns: str = Field("", description='One line, such as "30 days, from any pick-up point"')
    questions: str = Field("", description="One line on where to ask; for e-mail, left out when nobody answers")
    replies_read: bool = Field(False, description='Whether replies are read; then questions is "Reply to this e-mail."')
    cart_url: words.WebAddress | None = Field(None, description="Where a cart's button leads; else the front page")
    new_url: words.WebAddress | None = Field(None, description="Where new things are shown; else the front page")
    free_delivery_from: Amounts = Field(default_factory=dict, description="Orders from here on are delivered free")
    sms_opt_out: Annotated[str, Field(min_length=3, max_length=60)] = Field(
        "Reply STOP to opt out", description="Ends every text"
    )

    def view(self) -> BrandView:
        """Return the brand as templates see it."""
        return BrandView(
            name=self.name,
            legal_name=self.legal_name,
            postal_address=self.postal_address,
            url=self.url,
            cart_url=self.cart_url or self.url,
            new_url=self.new_url or self.url,
            delivery=self.delivery,
            returns=self.returns,
            questions=self.questions or ("Reply to this e-mail." if self.replies_read else ""),
            sms_opt_out=self.sms_opt_out,
            language=self.locale.replace("_", "-").split("-")[0],
            country=self.country,
            zone=self.zone,
            free_delivery_from=self.free_delivery_from,
            light=_palette(self.colours.light, LIGHT),
            dark=_palette(self.colours.dark, DARK),
            **{
                name: colour
                for name, colour in (("image_box", self.colours.light.image_box), ("image_alt", self.colours.light.alt))
                if colour is not None
            },
        )


def _palette(said: Palette, default: Look) -> Look:
    return replace(default, **said.model_dump(exclude_none=True, exclude={"image_box", "alt"}))
