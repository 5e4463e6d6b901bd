"""The sandbox templates run in: what a template may call, and how much it may do before only it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from tidings.content.clean import readable

WORK = 20_000  # units a message may spend; a loop's turn costs 1, and 64 characters of output in it 1 more
LONGEST_VALUE = 20_000  # characters of one computed string, items of one computed list
_LONGEST_RANGE = 1_000
_LARGEST_BITS = 512
_SHORT = 256  # characters of a text that costs nothing to print
_MOST_ESCAPED = 16_384
_PRINTED = (str, int, float)  # Decimal and dates print through filters; a list never prints itself

# Filters of Jinja2 that neither multiply text nor call what they are given.
_PLAIN_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "int", "last", "length", "lower", "max",
    "min", "rejectattr", "reverse", "round", "selectattr", "sort", "title", "trim", "truncate", "upper", "unique",
)  # fmt: skip


class Overdone(SecurityError):
    """The template does more than a message may."""


@pass_context
def _spend(context: Context, units: int) -> str:
    left: list[int] = context.parent["_work"]
    left[0] -= units
    if left[0] < 0:
        raise Overdone("loops or writes more than a message may")
    return ""


@pass_context
def _shown(context: Context, value: Any) -> Any:
    """Return what an expression prints, counted and harmless. A missing value never becomes the word None."""
    if isinstance(value, str):
        if len(value) > _SHORT:
            _spend(context, len(value) >> 6)
        return value if value.isprintable() else type(value)(readable(value))
    if value is None:
        raise Overdone('prints a value that is missing for this customer; write {{ value or "..." }}')
    if isinstance(value, (*_PRINTED, Undefined)) or hasattr(value, "__html__"):
        return value
    raise Overdone(f"prints a {type(value).__name__}; only text and numbers can be printed")


@pass_context
def _shown_in_html(context: Context, value: Any) -> str:
    """Return what an expression prints in HTML, escaped: a page in ASCII is put together and packed faster."""
    shown = escape(_shown(context, value))
    return shown if shown.isascii() else ascii_html(shown)


class _Escaped(dict[str, str]):
    """Short plain texts as HTML prints them, each worked out once; how many are kept is bounded."""

    def __missing__(self, value: str) -> str:
        if len(self) >= _MOST_ESCAPED:
            self.clear()
        shown = str(escape(value if value.isprintable() else readable(value)))
        found = self[value] = shown if shown.isascii() else ascii_html(shown)
        return found


def ascii_html(html: str) -> str:
    """Return HTML with every character beyond ASCII as a numeric reference; the same page to every reader."""
    return html.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _bounded(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > LONGEST_VALUE:
        raise Overdone(f"builds a value longer than {LONGEST_VALUE}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, _PRINTED):
        raise Overdone(f"joins a {type(value).__name__}; only text and numbers can be joined")
    return value if isinstance(value, str) else str(value)


def _joined(values: Any) -> Any:
    """Concatenate as ``~`` does, escaping plain text as soon as one operand is markup."""
    parts = [_text(value) for value in values]
    if any(isinstance(part, Markup) for part in parts):
        return _bounded(Markup("").join(parts))
    return _bounded("".join(parts))


def _replace(text: str, old: str, new: str) -> Any:
    text, old, new = (_text(value) for value in (text, old, new))
    if len(text) + text.count(old) * len(new) > LONGEST_VALUE:
        raise Overdone(f"builds a value longer than {LONGEST_VALUE}")
    return text.replace(old, new)


def _join(values: Any, between: str = "") -> Any:
    parts = [_text(value) for value in values]
    if sum(map(len, parts)) + len(parts) * len(_text(between)) > LONGEST_VALUE:
        raise Overdone(f"builds a value longer than {LONGEST_VALUE}")
    if any(isinstance(part, Markup) for part in parts):
        return escape(between).join(parts)
    return between.join(parts)


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > _LONGEST_RANGE:
        raise Overdone(f"asks for a range longer than {_LONGEST_RANGE}")
    return found


class _Printer(CodeGenerator):
    """Writes what most messages do often without a call: printing a short plain text, reading a view's field.

    Everything else goes the way of ``finalize`` and ``getattr``; in HTML what ``finalize`` returns is escaped already.
    """

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        if finalize.src is None or frame.eval_ctx.volatile:
            super()._output_child_pre(node, frame, finalize)
        elif frame.eval_ctx.autoescape:
            self.write("(environment.escaped[printed] if type(printed := (")
        else:
            self.write("(printed if type(printed := (")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        if finalize.src is None or frame.eval_ctx.volatile:
            super()._output_child_post(node, frame, finalize)
        elif frame.eval_ctx.autoescape:
            self.write(f")) is str and len(printed) <= {_SHORT} else {finalize.src}printed))")
        else:
            short = f")) is str and len(printed) <= {_SHORT} and printed.isprintable()"
            self.write(f"{short} else str({finalize.src}printed)))")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        guarded = self.environment
        if not isinstance(node.node, nodes.Name) or node.attr not in guarded.fields:  # type: ignore[attr-defined]
            super().visit_Getattr(node, frame)
            return
        name = frame.symbols.ref(node.node.name)
        self.write(f"({name}.{node.attr} if type({name}) in environment.having.{node.attr} else ")
        super().visit_Getattr(node, frame)
        self.write(")")


class Guarded(ImmutableSandboxedEnvironment):
    """Sandboxed, strict, without Python methods, with a budget that is counted inside every loop.

    ``views`` are the frozen dataclasses a template sees; their fields need no further questions.
    """

    code_generator_class = _Printer
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, *, autoescape: bool, filters: Mapping[str, Callable[..., Any]], views: tuple[type, ...]) -> None:
        super().__init__(
            autoescape=autoescape, undefined=StrictUndefined,
            finalize=_shown_in_html if autoescape else _shown,
            keep_trailing_newline=True, cache_size=0,
        )  # fmt: skip
        self.filters = {name: FILTERS[name] for name in _PLAIN_FILTERS}
        self.filters |= {"replace": _replace, "join": _join, "_tick": _spend, "_joined": _joined, "_bounded": _bounded}
        self.filters |= filters
        self.globals = {"range": _range, "namespace": self.globals["namespace"]}
        self._fields = {view: frozenset(view.__dataclass_fields__) for view in views}  # type: ignore[attr-defined]
        # What compiled templates ask by themselves: which views have a field of this name, and texts as HTML.
        self.fields = frozenset(field for fields in self._fields.values() for field in fields)
        having = {field: frozenset(one for one in views if field in self._fields[one]) for field in self.fields}
        self.having = SimpleNamespace(**having)
        self.escaped = _Escaped()

    def getattr(self, obj: Any, attribute: str) -> Any:
        fields = self._fields.get(type(obj))
        if fields is not None:
            return getattr(obj, attribute) if attribute in fields else self.undefined(obj=obj, name=attribute)
        if type(obj) is dict:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = super().getitem(obj, argument)
        if isinstance(found, Undefined):
            # The key may be a customer's word; a place in a list is not.
            where = f"place {argument}" if isinstance(argument, int) else "that key"
            return self.undefined(f"a {type(obj).__name__} has nothing at {where}")
        return found

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Python methods multiply text ("a".ljust(10**9)) and leak formats; filters do what templates need.
        if callable(value) and not isinstance(obj, LoopContext):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Refuse ``str.format`` like every other method; Jinja's own wrapper lets "{:>1000000000}" through."""
        return

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise Overdone("formats text with %; use filters")
        if operator == "**" and not _small_power(left, right):
            raise Overdone("computes a power that is too large")
        if operator == "*":
            _check_product(left, right)
        return _bounded(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _count_work(tree, self)
        return tree


def _small_power(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return abs(right) * left.bit_length() <= _LARGEST_BITS
    return isinstance(left, int | float) and isinstance(right, int | float)


def _check_product(left: Any, right: Any) -> None:
    for thing, times in ((left, right), (right, left)):
        if isinstance(thing, str | list | tuple) and isinstance(times, int) and len(thing) * times > LONGEST_VALUE:
            raise Overdone(f"builds a value longer than {LONGEST_VALUE}")
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _LARGEST_BITS:
        raise Overdone("computes a number that is too large")


def _count_work(tree: nodes.Template, environment: Guarded) -> None:
    """Make every turn of a loop, and every call of a macro, pay for itself and the text it writes."""
    for node in list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))):
        assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
        written = sum(len(text.data) for text in nodes.Block("", node.body, False, False).find_all(nodes.TemplateData))
        toll = nodes.Filter(nodes.Const(1 + written // 64), "_tick", [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(toll, lineno=node.lineno).set_environment(environment))
    for block in tree.find_all(nodes.AssignBlock):
        block.filter = nodes.Filter(block.filter, "_bounded", [], [], None, None, lineno=block.lineno)
        block.filter.set_environment(environment)
    _tame_concat(tree, environment)


def _tame_concat(node: nodes.Node, environment: Guarded) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, name, [_tamed(item, environment) for item in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _tamed(value, environment))


def _tamed(node: Any, environment: Guarded) -> Any:
    if not isinstance(node, nodes.Node):
        return node
    _tame_concat(node, environment)
    if isinstance(node, nodes.Concat):
        listed = nodes.List(node.nodes, lineno=node.lineno)
        joined = nodes.Filter(listed, "_joined", [], [], None, None, lineno=node.lineno)
        return joined.set_environment(environment)
    return node
