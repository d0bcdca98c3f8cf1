"""A comparison as one HTML page that needs nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass

from umi_local.evaluation.comparison import Comparison, Row
from umi_local.evaluation.page import facts, shown, template
from umi_local.evaluation.suite import Metric


@dataclass(frozen=True, slots=True)
class Whisker:
    """A difference drawn around a zero in the middle: all places are in percent of the plot's width."""

    metric: Metric
    shown: str
    interval: str
    x: float
    low: float
    high: float
    sure: bool


def comparison_page(comparison: Comparison) -> str:
    """The comparison as HTML: a table, and every difference with its interval."""
    metrics = comparison.metrics.items()
    rows = [
        (row.label, [*(shown(metric, row.values[name].value) for name, metric in metrics), *cost_cells(row)])
        for row in comparison.rows
    ]
    return template("comparison.html").render(
        comparison=comparison,
        rows=rows,
        plots=[(row.label, whiskers(comparison, row)) for row in comparison.rows[1:]],
        facts=[(row.label, facts(row.provenance)) for row in comparison.rows],
    )


def whiskers(comparison: Comparison, row: Row) -> list[Whisker]:
    """The differences of one report, all shares on one scale; what is no share has a scale of its own."""
    percent = [d for name, d in row.differences.items() if comparison.metrics[name].percent]
    reach = max((max(abs(d.low), abs(d.high)) for d in percent), default=0) or 1
    found = []
    for name, one in row.differences.items():
        metric = comparison.metrics[name]
        widest = reach if metric.percent else max(abs(one.low), abs(one.high)) or 1

        def place(value: float, widest: float = widest) -> float:
            return round(50 + 47 * max(-1, min(1, value / widest)), 3)

        words = f"{one.low:+.2f} to {one.high:+.2f}"
        places = (place(one.value), place(one.low), place(one.high))
        found.append(Whisker(metric, f"{one.value:+.2f}", words, *places, one.sure))
    return found


def cost_cells(row: Row) -> list[str]:
    """Seconds and tokens per item and the peak of memory in MiB; a dash for what is not known."""
    cost = row.cost
    items, tokens = cost.get("items") or 0, cost.get("evaluated_tokens") or 0
    memory = cost.get("peak_memory_bytes") or 0
    return [
        f"{cost.get('seconds_per_item', 0):.2f}",
        f"{tokens / items:,.0f}" if items and tokens else "–",
        f"{memory / 2**20:,.0f}" if memory else "–",
    ]
