"""Templates become messages: MJML once, Jinja per message, the same words in HTML and text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from tidings.content import sms
from tidings.content.compiling import in_ascii
from tidings.content.context import ProductFacts
from tidings.content.samples import HOSTILE
from tidings.content.source import Piece, Place
from tidings.content.templates import Library
from tidings.errors import TemplateError
from tidings.model.entry import Item
from tidings.model.people import Channel, Customer

Write = Callable[..., Library]
Context = Callable[..., dict[str, Any]]

EXPECTED = [
    ("back_in_stock/back", Channel.EMAIL), ("back_in_stock/back", Channel.SMS),
    ("browse_abandonment/reminder", Channel.EMAIL), ("browse_abandonment/reminder", Channel.SMS),
    ("cart_abandonment/last_chance", Channel.SMS), ("cart_abandonment/reminder", Channel.EMAIL),
    ("price_drop/alert", Channel.EMAIL), ("price_drop/alert", Channel.SMS),
    ("win_back/hello", Channel.EMAIL), ("win_back/hello", Channel.SMS), ("win_back/stay", Channel.EMAIL),
]  # fmt: skip


def test_every_campaign_has_its_default_messages(defaults: Library) -> None:
    assert defaults.names() == EXPECTED


@pytest.mark.parametrize(("name", "channel"), EXPECTED)
def test_a_default_message_reads_well_in_both_variants(
    defaults: Library, context: Context, name: str, channel: Channel
) -> None:
    plain = defaults.template(name, channel).render(context())
    playful = defaults.template(name, channel).render(context(variant="playful_subject"))

    if channel is Channel.SMS:
        assert sms.segments(plain.text).count == 1
        assert plain.text.startswith("Fenmark: ")
        assert plain.text.endswith("Reply STOP to opt out")
        return
    assert plain.subject != playful.subject
    assert len(plain.subject or "") <= 45
    assert "None" not in (plain.html or "") + plain.text
    assert not re.search(r"[!{}]|zq\d", plain.text)
    assert "Satamakatu 14" in plain.text


def test_the_cart_message_says_what_is_in_the_cart(defaults: Library, context: Context) -> None:
    made = defaults.template("cart_abandonment/reminder", Channel.EMAIL).render(context())

    assert (made.subject, made.preheader) == (
        "Your cart is saved", "2 items, €147.00 today. Carry on where you left off."
    )  # fmt: skip
    words = re.sub(r"https://t\S+", "LINK", made.text)
    assert words == (
        "Fenmark\n\nStill deciding? Your cart is here.\n\n"
        "We have kept what you chose, so you can carry on from any device.\n\n"
        "Ilmari pitcher: LINK\nSage, 1.2 l · Quantity 1\n€48.00\n4 left when we sent this\n\n"
        "Kajo lamp: LINK\nLinen and oak · Quantity 1\n€99.00 was €129.00\n\n"
        "2 items €147.00\nDelivery Free\n\nReturn to your cart: LINK\n\n"
        "Saving a cart does not reserve the items.\n\nDelivery: 2–4 working days\n\n"
        "You get this because you left items in your cart on 10 March and asked for e-mails from Fenmark.\n"
        "Choose what we send: LINK\nUnsubscribe: LINK\nFenmark Oy, Satamakatu 14, 00160 Helsinki, Finland\n"
    )
    assert [link.partition("?")[0] for link in made.links] == [
        "https://fenmark.example/p/1", "https://fenmark.example/p/2", "https://fenmark.example/cart"
    ]  # fmt: skip


def test_a_message_loads_nothing_but_pictures(defaults: Library, context: Context) -> None:
    # A font or a style sheet from elsewhere would tell its owner who reads the message, and when.
    for name, channel in defaults.names():
        html = defaults.template(name, channel).render(context()).html or ""
        assert not re.search(r"<link\b|@import|url\(|<script", html), name


def test_a_font_that_a_brand_asks_for_is_loaded(write: Write, context: Context) -> None:
    font = '<mj-head><mj-font name="Own" href="https://fenmark.example/own.css" />'
    library = write("words")
    layout = library.folder / "_layouts/small.mjml"
    layout.write_text(layout.read_text().replace("<mj-head>", font))
    asked = library.template("t/one", Channel.EMAIL)

    # Loaded only where it is used, and only from where the brand says.
    assert "fenmark.example/own.css" not in (asked.render(context()).html or "")
    layout.write_text(layout.read_text().replace("<mj-text>", '<mj-text font-family="Own, Arial">'))
    html = Library(library.folder, library.brand).template("t/one", Channel.EMAIL).render(context()).html or ""
    assert "https://fenmark.example/own.css" in html


def test_what_is_sold_out_by_now_is_neither_shown_nor_counted(context: Context) -> None:
    pitcher = ProductFacts("pitcher", "Pitcher", "https://fenmark.example/p/1", price=4_800, currency="EUR", stock=4)
    lamp = replace(pitcher, sku="lamp", price=9_900, stock=None)

    seen = context(replace(pitcher, stock=0), lamp)

    assert [item.sku for item in seen["items"]] == ["lamp"]
    assert (seen["item_count"], seen["total"]) == (1, context(lamp)["total"])


def test_more_than_three_products_are_counted_not_shown(defaults: Library, context: Context) -> None:
    items = (Item("pitcher"), Item("lamp", quantity=3), Item("pitcher"), Item("lamp"), Item("pitcher"))

    made = defaults.template("cart_abandonment/reminder", Channel.EMAIL).render(context(items=items))

    assert "And 2 more in your cart" in made.text
    assert "7 items" in made.text


def test_without_tracking_consent_only_the_opt_out_links_are_ours(defaults: Library, context: Context) -> None:
    made = defaults.template("cart_abandonment/reminder", Channel.EMAIL).render(context(tracked=False))

    ours = set(re.findall(r'href="https://t\.fenmark\.example/(\w)/', made.html or ""))
    assert ours == {"u", "p"}
    assert 'href="https://fenmark.example/cart?utm_source=tidings&amp;utm_medium=email' in (made.html or "")


def test_the_html_and_the_text_part_carry_the_same_links(defaults: Library, context: Context) -> None:
    made = defaults.template("win_back/hello", Channel.EMAIL).render(context())

    assert set(re.findall(r'<a href="([^"]+)"', made.html or "")) == set(re.findall(r"https://\S+", made.text))


def test_a_customers_words_stay_words(write: Write, context: Context) -> None:
    library = write(
        body='{{ customer.first_name }}<img alt="{{ customer.first_name }}" src="x">', sms="{{ customer.first_name }}"
    )
    customer = Customer("c", first_name=HOSTILE)

    html = library.template("t/one", Channel.EMAIL).render(context(customer=customer)).html or ""

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<img src=x" not in html
    assert library.template("t/one", Channel.SMS).render(context(customer=customer)).text == HOSTILE[:60].strip()


def test_a_line_break_in_a_name_adds_no_line_to_the_subject(write: Write, context: Context) -> None:
    library = write(
        t__one_dot_mjml='{% extends "_layouts/small.mjml" %}{% block subject %}\n  Hi {{ facts.x }}\n{% endblock %}'
        "{% block preheader %}{% endblock %}{% block body %}{% endblock %}"
    )

    made = library.template("t/one", Channel.EMAIL).render(context(facts={"x": "Ann\r\nBcc: a\u202eb"}))

    assert made.subject == "Hi Ann Bcc: ab"


def test_statements_around_elements_in_text_and_in_attributes_survive_mjml(write: Write, context: Context) -> None:
    library = write(
        t__one_dot_mjml='{% extends "_layouts/small.mjml" %}{% block subject %}S{% endblock %}'
        '{% block preheader %}{% endblock %}{% block body %}{% for item in items %}<mj-section css-class="a-{{ loop.index }}">'  # noqa: E501
        "<mj-column>{% if item.was %}<mj-text>{{ item.name }} — {% if true %}yes{% else %}no{% endif %}</mj-text>{% endif %}"  # noqa: E501
        "</mj-column></mj-section>{% endfor %}{% endblock %}"
    )

    html = library.template("t/one", Channel.EMAIL).render(context()).html or ""

    assert "Kajo lamp — yes" in unescape(html)
    assert "Ilmari" not in html
    assert 'class="a-2"' in html


def test_jinja_that_mjml_would_drop_is_a_mistake_with_its_line(write: Write) -> None:
    library = write(body='</mj-text>\n<mj-image {% if true %} src="x" {% endif %} />\n<mj-text>')

    with pytest.raises(TemplateError, match=r"t/one\.mjml:[23]: MJML drops|is not valid MJML"):
        library.template("t/one", Channel.EMAIL)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{% block subject %}S{% endblock %}", "an e-mail begins with"),
        ('{% extends "_layouts/small.mjml" %}{% block subject %}S{% endblock %}', "needs a block named preheader"),
        ('{% extends "_layouts/none.mjml" %}', "no such template file; found _layouts/none.mjml"),
        ('{% extends "../../secrets" %}', "no such template file"),
        ('{% extends "_layouts/small.mjml" %}\n{% block subject %}', "2: block subject has no endblock"),
        ('{% extends "_layouts/small.mjml" %}\n\n{{ x', "3: {{ is opened and never closed"),
        ('{% extends "_layouts/small.mjml" %}\nstray words', "outside a block only set statements may stand"),
        ('{% extends "_layouts/small.mjml" %}{% block bdy %}{% endblock %}{% block subject %}{% endblock %}'
         "{% block preheader %}{% endblock %}", "no such block in the layout; found bdy"),
        ('{% extends "_layouts/small.mjml" %}{% block preheader %}{% endblock %}{% block body %}{% endblock %}\n\n'
         "{% block subject %}{{ a b }}{% endblock %}", "4: expected token"),
        ('{% include "t/one.mjml" %}', "nested deeper than 10"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_line_that_names_file_line_and_rule(write: Write, text: str, complaint: str) -> None:
    library = write(t__one_dot_mjml=text)

    with pytest.raises(TemplateError, match=r"^message_templates/") as caught:
        library.template("t/one", Channel.EMAIL)

    assert complaint.replace("4: expected", ": expected") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_file_it_stands_in_even_an_included_one(write: Write, context: Context) -> None:
    library = write(body='{% include "_layouts/part.mjml" %}', _layouts__part_dot_mjml="a\n\n{{ items[9].name }}")

    with pytest.raises(TemplateError, match=r"^message_templates/_layouts/part\.mjml:3: "):
        library.template("t/one", Channel.EMAIL).render(context())


def test_the_hash_changes_with_any_file_a_message_is_made_of(write: Write) -> None:
    first = write(body='{% include "_layouts/part.mjml" %}', _layouts__part_dot_mjml="a").template(
        "t/one", Channel.EMAIL
    )
    same = write().template("t/one", Channel.EMAIL)
    other = write(_layouts__part_dot_mjml="b").template("t/one", Channel.EMAIL)

    assert first.hash == same.hash != other.hash
    assert first.sources == (
        "message_templates/t/one.mjml", "message_templates/_layouts/part.mjml", "message_templates/_layouts/small.mjml"
    )  # fmt: skip


def test_a_text_block_is_used_as_it_is_written(write: Write, context: Context) -> None:
    library = write(
        t__one_dot_mjml='{% extends "_layouts/small.mjml" %}{% set who = customer.first_name %}{% block subject %}{{ who }}'  # noqa: E501
        "{% endblock %}{% block preheader %}{% endblock %}{% block body %}{% endblock %}\n"
        "{% block text %}\nHello {{ who }} & co,\n{% for item in items %}\n- {{ item.name }}\n{% endfor %}\nBye\n{% endblock %}"  # noqa: E501
    )

    made = library.template("t/one", Channel.EMAIL).render(context())

    assert made.subject == "Ann"
    assert made.text == "Hello Ann & co,\n- Ilmari pitcher\n- Kajo lamp\nBye\n"


def test_an_sms_breaks_lines_only_at_empty_lines(write: Write, context: Context) -> None:
    library = write(sms="Fenmark:\n  your “cart”\n\n{{ opt_out }}\n")

    assert (
        library.template("t/one", Channel.SMS).render(context()).text == 'Fenmark: your "cart"\nReply STOP to opt out'
    )


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "t/../t/one", "_layouts/small", "t/one.mjml", ""])
def test_a_template_name_stays_inside_the_folder(write: Write, name: str) -> None:
    with pytest.raises(TemplateError):
        write(body="x").template(name, Channel.EMAIL)


def test_a_page_leaves_in_ascii_and_reads_the_same_but_for_style_sheets(write: Write, context: Context) -> None:
    library = write(
        t__one_dot_mjml='{% extends "_layouts/small.mjml" %}{% block subject %}Täällä{% endblock %}'
        "{% block preheader %}{% endblock %}{% block body %}"
        "<mj-section><mj-column><mj-text>Näin — {{ customer.first_name }}, {{ items[0].price }}</mj-text>"
        "</mj-column></mj-section>{% endblock %}"
    )
    customer = Customer("c", first_name="<Jörg> 東京", locale="fi", country="FI")

    made = library.template("t/one", Channel.EMAIL).render(context(customer=customer))

    assert made.html is not None
    assert made.html.isascii()
    assert "Näin — <Jörg> 東京, " in unescape(made.html)
    assert "<Jörg>" not in made.html
    assert "&lt;J&#246;rg&gt;" in made.html
    assert made.subject == "Täällä"
    assert "Näin — " in made.text


@pytest.mark.parametrize("body", ["<p>é</p><style>a{content:'é'}</style><STYLE>é</STYLE>é", "é", "<style>é"])
def test_no_style_sheet_holds_a_character_reference(body: str) -> None:
    parts = [Piece("text", part, Place("", 1)) for part in re.split("(?=é)", body)]

    written = "".join(piece.body for piece in in_ascii(parts))

    sheets = re.findall(r"<style>(.*?)(?:</style>|$)", written, re.IGNORECASE)
    assert not any("&#" in sheet for sheet in sheets)
    assert re.sub(r"<style>.*?(?:</style>|$)", "", written, flags=re.IGNORECASE).isascii()
    assert unescape(written) == body
