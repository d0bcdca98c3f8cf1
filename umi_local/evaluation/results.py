"""Reports of many suites as one page of Markdown, for a repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from umi_local.evaluation.page import interval, row_notes, shown, table_rows
from umi_local.evaluation.report import Report
from umi_local.evaluation.suites import SUITES

_HEAD = """# Results

Made by `umi-local eval results`; temperature 0 unless a row's line below the table says another, 95 % intervals by a
bootstrap over whole items. Rows of a suite are on the same items unless n, seed or split differs. Rows in italics are
not ours: trivial policies on the same items, or figures that others published for other models.
"""


def results_page(reports: Sequence[Report], intro: str = "") -> str:
    """The page: a section per title, everyday tasks first and then as the suites are listed; a row per report.

    `intro` is what there is to say of these figures, put before the tables.
    """
    titles: dict[str, list[Report]] = {}
    for report in sorted(reports, key=_rank):
        titles.setdefault(report.title, []).append(report)
    head = [_HEAD, f"{intro.strip()}\n"] if intro.strip() else [_HEAD]
    return "\n".join([*head, *(_section(some) for some in titles.values())])


def _rank(report: Report) -> int:
    """Where a suite's section stands; the order of reports within it is left as it is."""
    known = ["tasks", *SUITES]
    return known.index(report.suite) if report.suite in known else len(known)


def _section(reports: Sequence[Report]) -> str:
    first = reports[0]
    metrics = [name for name in first.metrics if all(name in report.metrics for report in reports)]
    titles = [first.metrics[name].title for name in metrics]
    lines = [f"## {first.title}", "", *_row(["", "n", *titles, "s/item"]), *_row(["---"] * (len(metrics) + 3))]
    labels = _labels(reports)
    for label, report in zip(labels, reports, strict=True):
        figures = [_figure(report, name) for name in metrics]
        lines += _row([label, str(len(report.cases)), *figures, _seconds(report)])
    for _, name, figures in table_rows(first)[1:]:
        cells = [figure for key, figure in zip(first.metrics, figures, strict=True) if key in metrics]
        lines += _row([f"*{name}*", "", *(f"*{cell}*" if cell else "" for cell in cells), ""])
    lines += ["", *(f"- {note}" for note in [*row_notes(first), *first.notes])]
    lines += ["", *(f"- {label}: {_provenance(report)}" for label, report in zip(labels, reports, strict=True)), ""]
    return "\n".join(lines)


def _labels(reports: Sequence[Report]) -> list[str]:
    """What each report says of itself, with its split where they are not all of one."""
    splits = [report.provenance.get("split") or "whole" for report in reports]
    return [
        f"{report.label} ({split})" if len(set(splits)) > 1 else report.label
        for report, split in zip(reports, splits, strict=True)
    ]


def _row(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _figure(report: Report, name: str) -> str:
    metric, value = report.metrics[name], report.values[name]
    span = interval(metric, value)
    return f"{shown(metric, value.value)} ({span})" if span else shown(metric, value.value)


def _seconds(report: Report) -> str:
    seconds = report.cost.get("seconds_per_item")
    return f"{seconds:.1f}" if isinstance(seconds, int | float) else ""


def _provenance(report: Report) -> str:
    """The files and settings behind a row, in a line."""
    facts = report.provenance
    roles: dict[str, dict[str, Any]] = facts.get("roles", {})
    models = sorted({f"{role['model']} {role['sha256'][:12]}" for role in roles.values()})
    adapters = [f"{name} {role['adapter_sha256'][:12]}" for name, role in roles.items() if role.get("adapter_sha256")]
    parts = [
        ", ".join(models),
        f"adapters {', '.join(adapters)}" if adapters else "no adapters",
        f"seed {facts.get('seed')}",
        f"temperature {facts['temperature']:g}" if facts.get("temperature") else "",
        f"split {facts['split']}" if facts.get("split") else "",
        f"data {str(facts.get('source', ''))[:12]}",
        ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items()),
        str(facts.get("date", "")),
    ]
    return "; ".join(part for part in parts if part)
