"""What a shop's data may hold, however hostile: it stays words, and breaks neither the message nor its neighbours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidings.channels.base import Envelope
from tidings.channels.sendgrid import payload
from tidings.content.context import ProductFacts
from tidings.content.templates import Library, Rendered
from tidings.errors import TemplateError
from tidings.model.people import Channel, Customer

Write = Callable[..., Library]
Context = Callable[..., dict[str, Any]]

WHO = "{{ customer.first_name or 'x' }}"
BODY = f'<p title="{WHO}">{WHO} {{{{ items[0].name }}}}</p>'
SUBJECT = (
    '{% extends "_layouts/small.mjml" %}'
    f"{{% block subject %}}For {WHO}{{% endblock %}}{{% block preheader %}}{WHO}{{% endblock %}}\n"
)
HOSTILE = {
    "template": "{{7*7}}{% for x in range(9) %}x{% endfor %}{# gone #}",
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "quote": "\" onmouseover=\"alert(1)' onfocus='alert(2)",
    "line breaks": "Ann\r\nBcc: all@post.example\r\n\r\n<h1>Body",
    "unicode line breaks": "Ann\u2028Bcc: x\u2029y\u0085z\x0bw\x0cv",
    "nul": "An\x00n",
    "bidi": "Ann\u202egpj.exe\u202c\u2066x\u2069",
    "surrogate": "Ann\ud83d",
    "family": "Ann \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "format": "%s%n{0}{__class__}",
    "mjml": "</mj-text></mj-column><mj-raw><script>x</script></mj-raw>",
    "comment": "--><!--[if mso]><x><![endif]-->",
    "url": "javascript:alert(1)",
    "sql": "x'; DROP TABLE messages; --",
}


class Tags(HTMLParser):
    """Reads HTML as a mail program does: which tags, with which attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]


def rendered(write: Write, context: Context, name: str, product: str = "Lamp") -> Rendered:
    library = write(body=BODY, sms="Hi {{ customer.first_name or 'there' }} {{ items[0].name }}")
    file = library.folder / "t/one.mjml"
    file.write_text(SUBJECT + file.read_text().partition("\n")[2])
    given = ProductFacts("lamp", product, "https://fenmark.example/p/2", price=9_900, currency="EUR")
    customer = Customer("c1", first_name=name, locale="en-IE", country="IE")
    return library.template("t/one", Channel.EMAIL).render(context(given, customer=customer))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_words_are_shown_as_words_or_not_at_all(write: Write, context: Context, name: str) -> None:
    plain = rendered(write, context, "Ann")

    found = rendered(write, context, name, product=name)

    assert Tags(found.html or "").seen == Tags(plain.html or "").seen
    for line in (found.subject or "", found.preheader or ""):
        assert not any(ord(letter) < 32 or letter in "\x7f\x85\u2028\u2029" for letter in line)
        assert not any("\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069" for letter in line)
    assert "{{7*7}}" in (found.html or "") or name != HOSTILE["template"]
    assert f"{found.subject}{found.html}{found.text}".encode()  # a lone surrogate would not encode


def test_a_joined_emoji_stays_whole_and_a_name_of_a_megabyte_costs_nothing(write: Write, context: Context) -> None:
    started = time.process_time()

    family = rendered(write, context, HOSTILE["family"])
    endless = rendered(write, context, "a\u0301" * 500_000, product="x" * 1_000_000)

    assert "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" in (family.subject or "")
    assert len(endless.subject or "") < 300
    assert len(endless.html or "") < 20_000
    assert time.process_time() - started < 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(codec=None), max_size=60))
def test_no_name_adds_a_tag_an_attribute_or_a_header(write: Write, context: Context, name: str) -> None:
    found = rendered(write, context, name or "Ann")

    assert Tags(found.html or "").seen == Tags(rendered(write, context, "Ann").html or "").seen
    assert "\r" not in (found.subject or "") + (found.preheader or "")
    assert "\n" not in (found.subject or "") + (found.preheader or "")


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,x",
     "https://shop.example/\"onclick=\"x", "https://user:pass@shop.example/", "//evil.example", "http://shop.example/",
     "https://shop.example/\r\nSet-Cookie: x", "vbscript:x", "https:/\\evil.example"],
)  # fmt: skip
def test_a_products_address_is_an_https_link_or_the_message_is_not_written(
    write: Write, context: Context, url: str
) -> None:
    library = write(body='<a href="{{ items[0].url | tracked }}">x</a><a href="{{ items[0].url | safe_url }}">y</a>')
    given = ProductFacts("lamp", "Lamp", url, price=9_900, currency="EUR")

    try:
        html = library.template("t/one", Channel.EMAIL).render(context(given, tracked=False)).html or ""
    except TemplateError as refused:
        assert url.strip() not in str(refused)  # noqa: PT017
        return

    places = [urlsplit(one) for one in Tags(html).links]
    assert {one.scheme for one in places} == {"https"}
    assert {one.netloc for one in places} <= {"fenmark.example", "t.fenmark.example", "shop.example"}
    assert Tags(html).seen.count(("a", ("href", "onclick"))) == 0


def test_a_subject_and_a_sender_with_line_breaks_make_no_header() -> None:
    envelope = Envelope(
        "0a" * 16, Channel.EMAIL, "ann@post.example", "hello@fenmark.example", subject="S", html="<p>x</p>", text="x",
        sender_name="Fenmark\r\nBcc: all@post.example",
    )  # fmt: skip

    body = json.dumps(payload(envelope))

    assert "\r" not in body
    assert "\n" not in body
    assert json.loads(body)["personalizations"][0]["to"] == [{"email": "ann@post.example"}]
