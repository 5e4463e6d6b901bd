"""What check says about a template before any customer sees it: the file, the line, the rule, and what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tidings.content import trial
from tidings.content.brand import DARK, LIGHT, BrandView
from tidings.content.lint import brand_problems, contrast, examine, known_variables
from tidings.content.templates import Library
from tidings.model.people import Channel

Write = Callable[..., Library]
OPT_OUT = " {{ opt_out }}"


def found(library: Library, channel: Channel = Channel.EMAIL) -> list[str]:
    return [str(problem) for problem in examine(library, "t/one", channel)]


def test_the_default_templates_have_no_problems_for_any_edge_customer(defaults: Library) -> None:
    problems = trial.problems(defaults, variants=("playful_subject",))

    assert [str(problem) for problem in problems] == []


def test_a_good_small_template_has_none_either(write: Write) -> None:
    assert found(write(body="Hi {{ customer.first_name or 'there' }}")) == []


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("x {{ custmer.first_name }}", 't/one.mjml:2: no such variable; found "custmer", did you mean "customer"?'),
        ("\n{{ customer.fist_name }}", ':3: no such variable; found "customer.fist_name", did you mean "customer.first_name"'),  # noqa: E501
        ("{% for item in items %}{{ item.nam }}{% endfor %}", 'did you mean "item.name"?'),
        ("{{ customer.first_name }}", 'found it with "no name"'),
        ("{{ items[1].name }}", "a list has nothing at place 1; found it with"),
        ("{{ items[0].price }}", 'found it with "a product without price or option"'),
        ("\n<a href={{ link(items[0].url) }}>x</a>", ":3: an attribute's value must stand in quotes"),
        ('<a href="{{ items[0].url }}">x</a>', 'written with | tracked (or | safe_url); found "items[0].url"'),
        ('<a href="javascript:alert(1)">x</a>', 'a link must be an https address; found "href="javascript:"'),
        ('<a href="http://shop.example">x</a>', 'a link must be an https address; found "http://shop.example"'),
        ('<img src="https://shop.example/x.jpg" alt="x">', "an image must have width"),
        ('<img src="https://shop.example/x.jpg" width="1" height="1">', "an image must have alt"),
        ("<h1>Two</h1>", "must have one h1; found 2"),
        ("{% for i in range(900) %}" + "words " * 20 + "{% endfor %}", "at most 80000 bytes"),
        ("{% unknown %}", "Encountered unknown tag"),
        ("{{ 1 | nofilter }}", "No filter named 'nofilter'"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_email_is_named(write: Write, body: str, complaint: str) -> None:
    assert complaint in "\n".join(found(write(body=body)))


@pytest.mark.parametrize(
    ("gone", "complaints"),
    [
        ("{{ brand.postal_address }}", ["HTML part must state brand.postal_address", "text part must state"]),
        (
            '<a href="{{ unsubscribe_url }}">Unsubscribe</a>',
            ["HTML part must link to unsubscribe_url", "text part must link"],
        ),
        (' lang="{{ language }}"', []),
    ],
    ids=["address", "unsubscribe", "language"],
)
def test_an_email_without_what_the_law_asks_for_is_refused(write: Write, gone: str, complaints: list[str]) -> None:
    library = write(body="x")
    layout = library.folder / "_layouts/small.mjml"
    layout.write_text(layout.read_text().replace(gone, ""))

    text = "\n".join(found(library))

    assert [complaint for complaint in complaints if complaint not in text] == []


@pytest.mark.parametrize(
    ("text", "level", "complaint"),
    [
        ("Fenmark: hello", "error", "a text must end with {{ opt_out }}"),
        ("Fenmark: hello 😀" + OPT_OUT, "advice", 'GSM-7 letters, or it costs twice; found "😀"'),
        ("words " * 30 + OPT_OUT, "advice", "should fit one segment; found 2 segments (201 GSM-7 units)"),
        ("words " * 300 + OPT_OUT, "error", "must have 1 to 1600 characters"),
    ],
)
def test_a_mistake_in_a_text_is_named(write: Write, text: str, level: str, complaint: str) -> None:
    problems = examine(write(sms=text), "t/one", Channel.SMS)

    assert {problem.level for problem in problems if complaint in str(problem)} == {level}


def test_an_endless_template_is_stopped_and_the_others_are_still_examined(write: Write) -> None:
    flat = "{% for x in range(1000) if range(1000) | sort | length and range(1000) | sort | first %}{% endfor %}"
    library = write(body=flat * 40, t__two_dot_sms="no opt-out", t__one_dot_sms="x" + OPT_OUT)
    started = time.monotonic()

    problems = trial.problems(library, seconds=1)

    assert time.monotonic() - started < 40
    assert [(p.template, p.rule.split(";")[0][:11]) for p in problems] == [
        ("message_templates/t/one.mjml", "must render"), ("message_templates/t/two.sms", "a text must")
    ]  # fmt: skip


def test_colours_that_cannot_be_read_are_refused(brand: BrandView) -> None:
    grey = replace(brand, light=replace(LIGHT, muted="#A0A0A0"), dark=replace(DARK, button_text="#FFFFFF"))

    assert [str(problem) for problem in brand_problems(grey)] == [
        "tidings.yaml:1: brand.colours.light.muted: must stand out from paper by at least 4.5; found 2.6",
        "tidings.yaml:1: brand.colours.light.muted: must stand out from canvas by at least 4.5; found 2.3",
        "tidings.yaml:1: brand.colours.dark.button_text: must stand out from button by at least 4.5; found 1.3",
    ]
    assert brand_problems(brand) == []


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_every_variable_has_a_name_without_secrets() -> None:
    assert "customer" in known_variables()
    assert not [name for name in known_variables() if name.startswith("_") or "mail" in name or "phone" in name]
