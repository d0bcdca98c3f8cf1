"""Reports and comparisons as text for a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from umi_local.plain import printable

if TYPE_CHECKING:
    from umi_local.evaluation.comparison import Comparison, Row
    from umi_local.evaluation.measuring import Progress
    from umi_local.evaluation.report import Case, Report

_WIDEST_NAME = 44


class ProgressLine:
    """How far a measurement is, on stderr: one line that changes on a terminal, else a line per tenth."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._may_change = sys.stderr.isatty()
        self._tenth = -1

    def __call__(self, progress: Progress) -> None:
        left = "" if progress.seconds_left is None else f", about {_duration(progress.seconds_left)} left"
        text = f"{self._name}: {progress.done} of {progress.items}{left}"
        tenth = 10 * progress.done // max(progress.items, 1)
        if self._may_change:
            end = "\n" if progress.done == progress.items else ""
            sys.stderr.write(f"\r\x1b[K{text}{end}")
        elif tenth != self._tenth:
            sys.stderr.write(f"{text}\n")
        self._tenth = tenth
        sys.stderr.flush()


def report_text(report: Report) -> str:
    """A report as two tables, its cost and its notes."""
    from umi_local.evaluation.page import costs, row_notes

    lines = [f"{report.title}: {len(report.cases)} items, {report.label}", "", *_own(report), "", *_rows(report), ""]
    lines += [f"{name + ':':<32}{value}" for name, value in costs(report.cost)]
    lines += ["", *(f"- {note}" for note in [*row_notes(report), *report.notes])]
    return printable("\n".join(lines))


def comparison_text(comparison: Comparison) -> str:
    """Every report as a row; differences from the first below its figures, with a star where the interval is clear."""
    from umi_local.evaluation.comparison_page import cost_cells
    from umi_local.evaluation.page import shown

    heads = [metric.title for metric in comparison.metrics.values()]
    rows = []
    for row in comparison.rows:
        figures = [shown(metric, row.values[name].value) for name, metric in comparison.metrics.items()]
        rows.append([row.label, *figures, *cost_cells(row)])
        if row.differences:
            rows.append(["  difference", *_differences(comparison, row), "", "", ""])
            rows.append(["  95 % interval", *_spans(comparison, row), "", "", ""])
    table = _table(["", *heads, "s/item", "tokens/item", "MiB"], rows)
    title = f"{comparison.title}: {comparison.items} items that all reports share"
    return printable("\n".join([title, "", *table, "", "* the 95 % interval of the paired bootstrap leaves out 0"]))


def case_line(case: Case) -> str:
    """A case on one line: what went wrong first."""
    more = f" (and {len(case.failed) - 1} more)" if len(case.failed) > 1 else ""
    what = " ".join(case.failed[0].split()) if case.failed else "all right"
    return printable(f"{case.id:<12} {what}{more}")


def case_text(case: Case) -> str:
    """A case opened: what went wrong, its scores, and its whole prediction."""
    lines = [f"Item {case.id}" + (f" ({case.stratum})" if case.stratum else "")]
    lines += [f"- {reason}" for reason in case.failed] or ["- all right"]
    lines += [f"{name:<20} {score:g} of {count:g}" for name, (score, count) in case.tally.items()]
    text = json.dumps(dict(case.prediction), ensure_ascii=False, indent=2).replace("\\n", "\n    ")
    return printable("\n".join([*lines, text]))


def _own(report: Report) -> list[str]:
    from umi_local.evaluation.page import interval, shown

    rows = [
        [metric.title, shown(metric, value.value), interval(metric, value), f"{value.count:g}"]
        for metric, value in ((report.metrics[name], value) for name, value in report.values.items())
    ]
    return _table(["metric", "value", "95 % interval", "scored"], rows)


def _rows(report: Report) -> list[str]:
    from umi_local.evaluation.page import table_rows

    heads = [metric.title for metric in report.metrics.values()]
    return _table(["", *heads], [[name, *figures] for _, name, figures in table_rows(report)])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their content; the first to the left, the others to the right."""
    shown = [[cell if i else cell[:_WIDEST_NAME] for i, cell in enumerate(row)] for row in [heads, *rows]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(heads))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in shown
    ]


def _differences(comparison: Comparison, row: Row) -> list[str]:
    known = [row.differences.get(name) for name in comparison.metrics]
    return ["–" if one is None else f"{one.value:+.2f}{'*' if one.sure else ''}" for one in known]


def _spans(comparison: Comparison, row: Row) -> list[str]:
    known = [row.differences.get(name) for name in comparison.metrics]
    return ["–" if one is None else f"{one.low:+.1f}..{one.high:+.1f}" for one in known]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
