"""The revenue pages' HTML, made from one report: nothing is counted here, only shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib import resources
from typing import Self
from urllib.parse import urlencode

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from tidings.measure.figures import Figures, Incremental, Report, Verdict
from tidings.model.message import SENTENCES, SkipReason
from tidings.model.money import exponent
from tidings.web import dashboard_marks as marks
from tidings.web import dashboard_words as words

PERIODS = (7, 28, 90)
ROWS = 50
SORTS = ("title", "found", "planned", "sent", "delivered", "clicked", "orders", "revenue", "incremental")
_TEMPLATES = ("frame.html", "parts.html", "overview.html", "campaign.html", "message.html", "counting.html")
_COLOURS = 8
_FEW = 30  # below so many orders a change is no news
_DELTA = Markup('<span class="delta {}{}"><span aria-hidden="true">{}</span><span class="unseen">{} </span> {}</span>')
_ENDS = {
    "expired": "Its time had passed",
    "failed": "The provider refused it, or it could not be written",
    "unknown": "The provider's answer was lost",
}


@dataclass(frozen=True, slots=True)
class View:
    """What the reader asked for, kept in the address; nobody's data is ever in it."""

    base: str
    path: str
    days: int = 28
    currency: str | None = None
    sort: str = "-revenue"
    page: int = 1
    tab: bool = False
    dag_id: str = ""

    @classmethod
    def asked(cls, *, base: str, path: str, asked: Mapping[str, str], tab: bool, dag_id: str) -> Self:
        """Return the view of an address; what makes no sense there is as if it had not been said."""
        days, currency, sort, page = (asked.get(name, "") for name in ("days", "currency", "sort", "page"))
        return cls(
            base=base,
            path=path,
            days=int(days) if days in {str(one) for one in PERIODS} else 28,
            currency=currency if len(currency) == 3 and currency.isascii() and currency.isupper() else None,
            sort=sort if sort.removeprefix("-") in SORTS else "-revenue",
            page=max(int(page), 1) if page.isdigit() and len(page) < 5 else 1,
            tab=tab,
            dag_id=dag_id,
        )

    def link(self, path: str, **changes: object) -> str:
        """Return the address of a page with this view's period and currency."""
        view = replace(self, **changes)  # type: ignore[arg-type]
        said: dict[str, object] = {"days": view.days}
        if view.currency:
            said["currency"] = view.currency
        if path == "/":
            said |= {"sort": view.sort} | ({"page": view.page} if view.page > 1 else {})
        return f"{self.base}{path}?{urlencode(said)}"


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the funnel: so many, and which share of what."""

    name: str
    count: int
    told: str
    grey: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """Why messages were not sent: the sentence, the code below it, how many."""

    sentence: str
    code: str
    count: int


class Pages:
    """Renders the pages. ``versions`` are the static files' versions by name."""

    def __init__(self, versions: Mapping[str, str]) -> None:
        folder = resources.files("tidings.web").joinpath("dashboard_files")
        texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _TEMPLATES}
        self._templates = Environment(
            loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        told = {name: getattr(words, name) for name in ("number", "money", "share", "moment", "period", "DASH")}
        self._templates.globals |= {
            **told, "bar": marks.bar, "versions": dict(versions), "Verdict": Verdict, "periods": PERIODS,
            "funnel": funnel, "reasons": reasons, "sure": sure, "verdict_words": verdict_words, "delta": delta,
            "interval_words": interval_words, "alert": alert, "titled": titled,
        }  # fmt: skip

    def overview(self, report: Report, view: View) -> str:
        """Return the page of all campaigns."""
        rows = sorted_campaigns(report, view)
        last_page = max(-(-len(rows) // ROWS), 1)
        page = min(view.page, last_page)
        return self._page(
            "overview.html",
            view,
            title="Campaigns",
            report=report,
            rows=rows[(page - 1) * ROWS : page * ROWS],
            page=page,
            last_page=last_page,
            chart=chart(report, report.campaigns),
            **_pictures(report, report.campaigns, report.totals),
        )

    def campaign(self, report: Report, one: Figures, view: View) -> str:
        """Return one campaign's page."""
        return self._page(
            "campaign.html",
            view,
            title=one.title,
            report=report,
            one=one,
            chart=chart(report, (one,)),
            **_pictures(report, (one,), one),
        )

    def not_a_campaign(self, view: View, dag_id: str) -> str:
        """Say what a DAG without revenue of its own is for."""
        known = {
            "dispatch": "This DAG sends what all campaigns have planned.",
            "measure": "This DAG measures what all campaigns earned.",
        }
        text = known.get(dag_id, "No campaign has this name, or its file has a mistake that `tidings check` tells.")
        return self._page("message.html", view, title="No revenue of its own", text=text, command=None)

    def trouble(self, view: View, told: str) -> str:
        """Say what is wrong, what still works, and the one command that tells more."""
        return self._page(
            "message.html",
            view,
            title="The figures cannot be shown now",
            text=f"{told}. Planning and sending go on by themselves, and nothing that was measured is lost.",
            command="tidings check",
        )

    def counting(self, view: View) -> str:
        """Return the page that says what each figure means."""
        return self._page("counting.html", view, title="How we count")

    def _page(self, name: str, view: View, **told: object) -> str:
        return self._templates.get_template(name).render(view=view, **told)


def figures_of(report: Report, dag_id: str) -> Figures | None:
    """Return the campaign a DAG belongs to. Its id is the campaign's own, prefixed where another DAG has that name."""
    by_id = {one.campaign: one for one in report.campaigns}
    return by_id.get(dag_id) or by_id.get(dag_id.removeprefix("campaign_"))


def titled(report: Report, campaigns: Sequence[str]) -> list[str]:
    """Return campaigns by the names that people gave them."""
    titles = {one.campaign: one.title for one in report.campaigns}
    return [titles.get(campaign, campaign) for campaign in campaigns]


def sorted_campaigns(report: Report, view: View) -> list[Figures]:
    """Return the campaigns in the order the reader asked for; equal ones by title."""
    key, falling = view.sort.removeprefix("-"), view.sort.startswith("-")
    rows = sorted(report.campaigns, key=lambda one: one.title.casefold())
    if key == "title":
        return rows[::-1] if falling else rows

    def value(one: Figures) -> float:
        if key == "incremental":
            return float("-inf") if one.incremental is None or one.incremental.total is None else one.incremental.total
        return float(getattr(one, key))

    return sorted(rows, key=value, reverse=falling)


def colours(report: Report) -> dict[str, int]:
    """Return each campaign's colour, 1 to 8 and 0 for the others: by id, so that it keeps it."""
    ids = sorted(one.campaign for one in report.campaigns)
    return {name: number if number <= _COLOURS else 0 for number, name in enumerate(ids, 1)}


def funnel(one: Figures) -> list[Stage]:
    """Return the stages from planned to ordered; what is told is always the share of something named."""
    planned, sent = one.planned, one.sent

    def of(part: int, whole: int, name: str) -> str:
        # A delivered text may count as the touch before an order, so there can be more orders than clicks.
        return f"{words.share(part, whole)} of {name}" if part <= whole and whole else words.DASH

    refused = sum(one.refused.values())
    found = f"{words.number(one.found)} entries found" + (f", {words.number(refused)} refused" if refused else "")
    stages = [
        Stage("Planned", planned, found),
        Stage("Not sent", one.not_sent, of(one.not_sent, planned, "planned"), grey=True),
        Stage("Held out", one.held_out, of(one.held_out, planned, "planned"), grey=True),
    ]
    if one.open:
        stages.append(Stage("Waiting", one.open, of(one.open, planned, "planned"), grey=True))
    return [
        *stages,
        Stage("Sent", sent, of(sent, planned, "planned")),
        Stage("Delivered", one.delivered, of(one.delivered, sent, "sent")),
        Stage("Clicked", one.clicked, of(one.clicked, one.delivered, "delivered")),
        Stage("Ordered", one.orders, of(one.orders, one.clicked, "clicked")),
    ]


def reasons(one: Figures) -> list[Reason]:
    """Return why messages were not sent, refused at once or later, the most frequent first."""
    counts: dict[str, int] = {}
    for told in (one.refused, one.skipped, one.cancelled, {name: getattr(one, name) for name in _ENDS}):
        for code, many in told.items():
            counts[code] = counts.get(code, 0) + many
    ranked = sorted(((code, many) for code, many in counts.items() if many), key=lambda pair: (-pair[1], pair[0]))
    return [Reason(_sentence(code), code, many) for code, many in ranked]


def _sentence(code: str) -> str:
    if code in _ENDS:
        return _ENDS[code]
    try:
        return SENTENCES[SkipReason(code)]
    except (ValueError, KeyError):
        return code.replace("_", " ").capitalize()


def sure(found: Incremental | None) -> bool:
    """Return whether the comparison proves a difference, in either direction."""
    return found is not None and found.verdict in (Verdict.PROVEN, Verdict.HARMFUL) and not found.suspect


def verdict_words(found: Incremental | None) -> str:
    """Return what the comparison allows one to say where no proven figure stands; empty when it is proven."""
    if found is None:
        return "Not measured"
    if found.suspect:
        return "Check the split"
    match found.verdict:
        case Verdict.PROVEN | Verdict.HARMFUL:
            return ""
        case Verdict.INCONCLUSIVE:
            return "Inconclusive"
        case Verdict.NOT_ENOUGH:
            return "Not enough data"
        case Verdict.NOT_MEASURED:
            return "Not measured"


def alert(text: str) -> Markup:
    """Return an alert with what happened in bold, and commands as such."""
    head, mark, rest = text, "", ""
    for split in (": ", ". "):
        before, found, after = text.partition(split)
        if found and len(before) < len(head):
            head, mark, rest = before, found, after
    if mark == ": ":
        rest = rest[:1].upper() + rest[1:]
    parts = escape(rest).split("`")
    told = "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
    return Markup(f"<strong>{escape(head.rstrip('.'))}.</strong> {told}")


def interval_words(found: Incremental | None, currency: str) -> str:
    """Return "€5,400 to €18,800", or nothing."""
    if found is None or found.total_low is None or found.total_high is None:
        return ""
    return f"{words.money(found.total_low, currency)} to {words.money(found.total_high, currency)}"


def delta(now: float | None, before: float | None, orders: int) -> Markup:
    """Return the change against the period before: an arrow and a share, grey when there are too few orders."""
    if now is None or not before or before < 0:
        return Markup("")
    change = 100 * (now - before) / before
    text = f"{abs(change):.1f}%" if abs(change) < 1000 else "over 1,000%"
    if round(change, 1) == 0:
        return Markup('<span class="delta">= 0.0%</span>')
    kind, arrow, word = ("up", "▲", "up") if change > 0 else ("down", "▼", "down")
    few = " few" if orders < _FEW else ""
    return Markup(
        '<span class="delta {}{}"><span aria-hidden="true">{}</span><span class="unseen">{} </span> {}</span>'
    ).format(kind, few, arrow, word, text)


def _pictures(report: Report, campaigns: Sequence[Figures], whole: Figures) -> dict[str, object]:
    """Return the marks of a page, all pairs on one scale."""
    scale = marks.Scale.around([value for one in campaigns for value in _values(one)])
    lifts = marks.Scale.around([value for one in campaigns for value in _values(one)[1:]])
    return {
        "pairs": {
            one.campaign: marks.pair(one.revenue, one.incremental, scale, _said(one, report)) for one in campaigns
        },
        "intervals": {one.campaign: marks.interval(one.incremental, lifts, _said(one, report)) for one in campaigns},
        "pair": marks.pair(whole.revenue, whole.incremental, marks.Scale.around(_values(whole)), _said(whole, report)),
        "axis": _axis(lifts, report.currency),
        "spark": marks.sparkline(_by_day(report, campaigns), "Attributed revenue by day, from zero"),
        "colours": colours(report),
    }


def _values(one: Figures) -> list[float | None]:
    found = one.incremental
    return [float(one.revenue), *((found.total, found.total_low, found.total_high) if found else ())]


def _said(one: Figures, report: Report) -> str:
    attributed = f"{one.title}: attributed {words.money(one.revenue, report.currency)}"
    found = one.incremental
    if found is None or found.total is None:
        return f"{attributed}, incremental {verdict_words(found).lower()}"
    told = words.money(found.total, report.currency, sign=True)
    range_ = interval_words(found, report.currency)
    unsure = f", {verdict_words(found).lower()}" if verdict_words(found) else ""
    return f"{attributed}, incremental {told}, 95% interval {range_}{unsure}"


def _axis(scale: marks.Scale, currency: str) -> list[tuple[float, str]]:
    """Return the round amounts that label the intervals' scale: zero, and about two more."""
    sign, step = words.symbol(currency), marks.round_step(words.major(scale.high - scale.low, currency) / 2)
    unit = 10.0 ** exponent(currency)
    told = []
    for number in range(-2, 5):
        if scale.low <= number * step * unit <= scale.high:
            told.append((scale.at(number * step * unit), words.short(number * step) if number else f"{sign}0"))
    return told


def _days(report: Report) -> list[date]:
    first, last = words.days(report.start, report.end, report.zone)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _by_day(report: Report, campaigns: Sequence[Figures]) -> list[float]:
    wanted = {one.campaign for one in campaigns}
    sums: dict[date, float] = dict.fromkeys(_days(report), 0.0)
    for row in report.days:
        if row.campaign in wanted and row.day in sums:
            sums[row.day] += row.revenue
    return list(sums.values())


def chart(report: Report, campaigns: Sequence[Figures]) -> dict[str, object]:
    """Return what the chart and its table show: days, and per campaign the revenue in the currency's own unit."""
    days = _days(report)
    place = {day: number for number, day in enumerate(days)}
    named = colours(report)
    series: dict[str, dict[str, object]] = {}
    values: dict[str, list[float]] = {}
    for one in sorted(campaigns, key=lambda one: (named[one.campaign] or 99, one.title)):
        key = one.campaign if named[one.campaign] else "other"
        series.setdefault(key, {"name": one.title if key != "other" else "Other", "colour": named[one.campaign]})
        values.setdefault(key, [0.0] * len(days))
    for row in report.days:
        key = row.campaign if named.get(row.campaign) else "other"
        if key in values and row.day in place and row.campaign in {one.campaign for one in campaigns}:
            values[key][place[row.day]] += words.major(row.revenue, report.currency)
    shown = [{**series[key], "values": [round(value, 2) for value in values[key]]} for key in series]
    told = {"days": [day.isoformat() for day in days], "series": shown, "unit": words.symbol(report.currency)}
    # "<" is written as an escape, so that no title can end the script element it stands in.
    return {**told, "json": Markup(json.dumps(told).replace("<", "\\u003c"))}
