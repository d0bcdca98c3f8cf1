"""Two or more reports of one suite, compared on the items that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umi_local.errors import UsageError
from umi_local.evaluation.bootstrap import paired_intervals
from umi_local.evaluation.meter import total
from umi_local.evaluation.report import Report, Value, values
from umi_local.evaluation.suite import Metric


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a report's figure is above the first one's, with its paired 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Row:
    """One report in the table; the first has no differences."""

    label: str
    values: Mapping[str, Value]
    differences: Mapping[str, Difference]
    cost: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """`items` is how many items all reports share; all figures are over these alone."""

    suite: str
    title: str
    metrics: Mapping[str, Metric]
    items: int
    rows: Sequence[Row]


def compare(reports: Sequence[Report], labels: Sequence[str] = ()) -> Comparison:
    """Compare reports with the first of them.

    Args:
        labels: what to call them; by default what each says of itself.

    Raises:
        UsageError: they are of different suites or data, or have no item in common.
    """
    first = reports[0]
    for other in reports[1:]:
        check_comparable(first, other.suite, other.provenance)
    tallies = [{case.id: case.tally for case in report.cases} for report in reports]
    shared = [case.id for case in first.cases if all(case.id in one for one in tallies)]
    if not shared:
        raise UsageError("The reports have no item in common.", "Measure both with the same --limit and --seed.")
    metrics = {name: metric for name, metric in first.metrics.items() if all(name in r.metrics for r in reports)}
    base = [tallies[0][name] for name in shared]
    rows: list[Row] = []
    compared = set(shared)
    for i, (report, own) in enumerate(zip(reports, tallies, strict=True)):
        those = [own[name] for name in shared]
        figures = values(metrics, those)
        spans = paired_intervals(base, those, list(metrics)) if i else {}
        differences = _differences(metrics, rows[0].values if rows else {}, figures, spans)
        label = labels[i] if labels else report.label
        cost = total(case.cost for case in report.cases if case.id in compared)
        rows.append(Row(label, figures, differences, cost, report.provenance))
    return Comparison(first.suite, first.title, metrics, len(shared), rows)


def check_comparable(report: Report, suite: str, provenance: Mapping[str, Any]) -> None:
    """That a report is of the same suite and data as a measurement with this provenance.

    Raises:
        UsageError: it is not.
    """
    if suite != report.suite:
        raise UsageError(f"The reports are of different suites: {report.suite} and {suite}.")
    if any(provenance.get(key) != report.provenance.get(key) for key in ("source", "split")):
        raise UsageError("The reports were measured on different data.", "Measure both on the same file and split.")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as `eval compare --json` prints it."""
    from dataclasses import asdict

    return {
        "suite": comparison.suite,
        "items": comparison.items,
        "rows": [
            {
                "label": row.label,
                "metrics": {name: asdict(value) for name, value in row.values.items()},
                "differences": {name: asdict(one) for name, one in row.differences.items()},
                "cost": dict(row.cost),
                "provenance": dict(row.provenance),
            }
            for row in comparison.rows
        ],
    }


def _differences(
    metrics: Mapping[str, Metric],
    before: Mapping[str, Value],
    after: Mapping[str, Value],
    spans: Mapping[str, tuple[float, float]],
) -> dict[str, Difference]:
    found = {}
    for name, (low, high) in spans.items():
        old, new = before[name].value, after[name].value
        if old is not None and new is not None:
            scale = 100 if metrics[name].percent else 1
            found[name] = Difference(new - old, scale * low, scale * high)
    return found
