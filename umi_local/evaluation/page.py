"""A report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from umi_local.evaluation.report import Case, Report, Value
from umi_local.evaluation.suite import Metric

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_CASES = 400
_LONGEST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure of another row on a metric's bar; `x` is its place in percent of the bar."""

    name: str
    shown: str
    x: float
    published: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A metric drawn as a bar: all places are in percent of its full length."""

    metric: Metric
    shown: str
    interval: str
    count: int
    x: float
    low: float
    high: float
    marks: tuple[Mark, ...]


def page(report: Report) -> str:
    """The report as HTML. Texts of models and tools are escaped; nothing on the page is loaded from elsewhere."""
    failures = report.failures
    return template("page.html").render(
        report=report,
        bars=[bar(report, name) for name in report.metrics if report.values[name].value is not None],
        rows=table_rows(report),
        notes=[*row_notes(report), *report.notes],
        facts=facts(report.provenance),
        costs=costs(report.cost),
        failures=[(case, _text(case)) for case in failures[:_MOST_CASES]],
        not_shown=max(len(failures) - _MOST_CASES, 0),
    )


def bar(report: Report, name: str) -> Bar:
    """One metric of a report that has a value, with the other rows as marks."""
    metric, own = report.metrics[name], report.values[name]
    others = [(row, values.get(name, Value(None)).value, False) for row, values in report.baselines.items()]
    others += [(row.name, row.values.get(name), True) for row in report.references]
    known = [(row, value, published) for row, value, published in others if value is not None]
    top = 100.0 if metric.percent else 1.1 * max([own.value or 0, own.high or 0, *(value for _, value, _ in known)])

    def place(value: float | None) -> float:
        return round(min(max(100 * (value or 0) / (top or 1), 0), 100), 3)

    return Bar(
        metric,
        shown(metric, own.value),
        interval(metric, own),
        int(own.count),
        place(own.value),
        place(own.low),
        place(own.high),
        tuple(Mark(row, shown(metric, value), place(value), published) for row, value, published in known),
    )


def shown(metric: Metric, value: float | None) -> str:
    """A figure with as many digits as it deserves; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.2f}" if metric.percent else f"{value:.3g}"


def interval(metric: Metric, value: Value) -> str:
    if value.low is None or value.high is None:
        return ""
    return f"{shown(metric, value.low)} to {shown(metric, value.high)}"


def costs(cost: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the measurement cost, as words and figures."""
    found = [
        ("Seconds per item", f"{cost.get('seconds_per_item', 0):,.2f}"),
        ("Seconds", f"{cost.get('wall_s', 0):,.0f}"),
    ]
    if cost.get("evaluated_tokens"):
        found += [
            ("Tokens evaluated", f"{cost['evaluated_tokens']:,}"),
            ("Tokens found in the cache", f"{cost['reused_tokens']:,}"),
            ("Tokens chosen by the model", f"{cost['sampled_tokens']:,}"),
            ("Tokens forced by the form", f"{cost['forced_tokens']:,}"),
            ("Evaluated per distinct token", f"{cost['evaluated_per_distinct'] or 0:.2f}"),
        ]
    if cost.get("peak_memory_bytes"):
        found.append(("Peak memory", f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB"))
    return found


def table_rows(report: Report) -> list[tuple[str, str, list[str]]]:
    """The table: kind of row, its name, its figures in the order of the metrics."""
    rows = [("own", report.label, [shown(m, report.values[name].value) for name, m in report.metrics.items()])]
    for name, row in report.baselines.items():
        rows.append(("baseline", name, [shown(m, row.get(k, Value(None)).value) for k, m in report.metrics.items()]))
    for reference in report.references:
        figures = [shown(m, reference.values.get(k)) for k, m in report.metrics.items()]
        rows.append(("reference", reference.name, figures))
    return rows


def row_notes(report: Report) -> list[str]:
    """Where the figures of others come from, one sentence per source."""
    notes: dict[str, list[str]] = {}
    for row in report.references:
        notes.setdefault(row.note, []).append(row.name)
    return [f"{', '.join(names)}: {note}." for note, names in notes.items()]


def facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, one fact per line."""
    facts: list[tuple[str, str]] = []
    for name, value in provenance.items():
        if name == "roles":
            facts += [(role, ", ".join(str(part) for part in about.values() if part)) for role, about in value.items()]
        elif isinstance(value, Mapping):
            facts.append((name, ", ".join(f"{key} {one}" for key, one in value.items())))
        elif value not in (None, ""):
            facts.append((name.replace("_", " "), str(value)))
    return facts


def _text(case: Case) -> str:
    text = json.dumps(dict(case.prediction), ensure_ascii=False, indent=1)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}\n… (the rest is in the JSON report)"


@cache
def template(name: str) -> Template:
    """A template of this folder; what it is filled with is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(lambda name: (files("umi_local.evaluation") / name).read_text(encoding="utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
