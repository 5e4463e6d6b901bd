"""A template that loops for ever or writes too much stops alone, at once, with its place and its reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tidings.content.templates import Library
from tidings.errors import TemplateError
from tidings.model.people import Channel

Write = Callable[..., Library]
Context = Callable[..., dict[str, Any]]
LOOPS = "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}"
ENDS = "{% endfor %}{% endfor %}{% endfor %}"

BOMBS = {
    "endless loop that writes nothing": LOOPS + ENDS,
    "endless loop that writes": LOOPS + "words" + ENDS,
    "endless recursion": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "exponential macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "recursive loop": "{% set l = range(900) %}{% for i in l recursive %}{{ loop(l) }}{% endfor %}",
    "multiplied text": "{{ 'a' * 50000000 }}",
    "multiplied list": "{% set l = [1] * 50000000 %}",
    "giant power": "{% set n = 10 ** 100000000 %}{{ n }}",
    "giant product": "{% set ns = namespace(n=9) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "doubled text": "{% set ns = namespace(t='aaaa') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",  # noqa: E501
    "summed text": "{% set ns = namespace(t='aaaa') %}{% for i in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
    "doubled block": "{% set ns = namespace(t='aaaa') %}{% for i in range(60) %}"
    "{% set ns.t %}{{ ns.t }}{{ ns.t }}{% endset %}{% endfor %}{{ ns.t }}",
    "captured flood": "{% set big = 'a' * 20000 %}{% set all %}{% for i in range(1000) %}{{ big }}{% endfor %}{% endset %}",  # noqa: E501
    "formatted width": "{{ '%1000000000d' % 1 }}",
    "range": "{% for i in range(1000000000) %}{% endfor %}",
    "replace": "{{ ('a' * 10000) | replace('a', 'b' * 10000) }}",
    "nested list": "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
    "{{ ns.l }}",
    "joined nested list": "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
    "{% endfor %}{{ ns.l ~ 'x' }}",
}
REFUSED = {
    "python method": "{{ 'a'.ljust(1000000000) }}",
    "format method": "{{ '{:>1000000000}'.format(1) }}",
    "dunder": "{{ ''.__class__.__mro__ }}",
    "dunder of a view": "{{ customer.__class__ }}",
    "links object": "{{ _links.to.__globals__ }}",
    "function globals": "{{ link.__globals__ }}",
    "unescaped": "{{ customer.first_name | safe }}",
    "attribute walk": "{{ customer | attr('__class__') }}",
    "list of everything": "{{ items | map('upper') }}",
    "lipsum": "{{ lipsum(n=1000000) }}",
    "import": '{% import "t/one.mjml" as x %}',
    "printed object": "{{ customer }}",
    "missing value": "{{ none }}",
    "unknown variable": "{{ custmer.first_name }}",
}


@pytest.mark.parametrize("body", [*BOMBS.values(), *REFUSED.values()], ids=[*BOMBS, *REFUSED])
def test_what_a_message_may_not_do_stops_it_quickly_with_its_line(write: Write, context: Context, body: str) -> None:
    library = write(body="\n" + body, sms="\n" + body)
    started = time.process_time()

    with pytest.raises(TemplateError, match=r"^message_templates/t/one\.mjml:\d+: "):
        library.template("t/one", Channel.EMAIL).render(context())
    with pytest.raises(TemplateError, match=r"^message_templates/t/one\.sms:2: "):
        library.template("t/one", Channel.SMS).render(context())

    assert time.process_time() - started < 3


def test_a_message_above_the_size_at_which_gmail_clips_fails(write: Write, context: Context) -> None:
    library = write(body="{% for i in range(900) %}" + "words " * 20 + "{% endfor %}")

    with pytest.raises(TemplateError, match="at most 80000 bytes"):
        library.template("t/one", Channel.EMAIL).render(context())


def test_a_text_longer_than_the_provider_takes_fails(write: Write, context: Context) -> None:
    library = write(sms="{% for i in range(900) %}abc {% endfor %}")

    with pytest.raises(TemplateError, match="1 to 1600 characters"):
        library.template("t/one", Channel.SMS).render(context())


def test_ordinary_templates_stay_well_within_the_budget(write: Write, context: Context) -> None:
    library = write(
        sms="{% for i in range(300) %}{% if loop.last %}{{ loop.index }}{% endif %}{% endfor %}"
        "{% macro shout(t) %}{{ t | upper }}!{% endmacro %} {{ shout('hi') }} {{ 'a' * 3 ~ 1 }} {{ 2 ** 8 }}"
        "{% set kept %}{{ customer.first_name }}{% endset %} {{ kept }} {{ [1, 2] | join('-') }}"
        " {{ 'a-b' | replace('-', '+') }}"
    )

    assert library.template("t/one", Channel.SMS).render(context()).text == "300 HI! aaa1 256 Ann 1-2 a+b"


def test_an_exception_never_quotes_the_customer(write: Write, context: Context) -> None:
    library = write(sms="{{ items[customer.first_name] + 1 }}{{ customer.first_name + 1 }}")

    with pytest.raises(TemplateError) as caught:
        library.template("t/one", Channel.SMS).render(context())

    assert "Ann" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
