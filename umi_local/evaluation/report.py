"""A report: what was measured, how sure it is, what it cost, and every item with its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from umi_local.evaluation.bootstrap import intervals
from umi_local.evaluation.meter import total
from umi_local.evaluation.store import Result
from umi_local.evaluation.suite import Item, Metric, ReferenceRow, Suite, Tally

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's figure as the table shows it, with its 95 % interval; None where nothing was scored."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: float = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A measured item. `failed` says in words what went wrong."""

    id: str
    stratum: str
    prediction: Mapping[str, Any]
    tally: Tally
    cost: Mapping[str, Any] = field(default_factory=dict)
    failed: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """All that is known of one measurement.

    `baselines` are trivial policies on the same items, `references` figures of others. `provenance` says what was
    measured: pack and file hashes, mode, seed, sample, the data's SHA-256 under `source`, versions.
    """

    suite: str
    title: str
    metrics: Mapping[str, Metric]
    values: Mapping[str, Value]
    cases: Sequence[Case]
    baselines: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    references: Sequence[ReferenceRow] = ()
    notes: Sequence[str] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What was measured, in a few words: adapters are named where they are not the pack's own."""
        roles = self.provenance.get("roles", {}).values()
        pack, mode = self.provenance.get("pack", "agent"), self.provenance.get("mode", "")
        if pack == "files":
            pack = ", ".join(sorted({role["model"] for role in roles}))
        adapters = sorted({role["adapter"] for role in roles if role.get("adapter_given")})
        return " ".join(filter(None, [pack, mode, "with " + ", ".join(adapters) if adapters else ""]))

    @property
    def failures(self) -> list[Case]:
        return [case for case in self.cases if case.failed]

    def scores_only(self) -> Report:
        """The report without what was asked, called and answered: so no benchmark's texts are published with it."""
        hidden = [replace(case, prediction={}, failed=("wrong",) if case.failed else ()) for case in self.cases]
        return replace(self, cases=hidden)


def report_of(suite: Suite, items: Sequence[Item], results: Sequence[Result], provenance: Mapping[str, Any]) -> Report:
    """Score predictions, and the suite's baselines on the same items."""
    cases = [
        Case(
            item.id,
            item.stratum,
            result.prediction,
            _plain(suite.tally(item, result.prediction)),
            result.cost,
            suite.failed(item, result.prediction),
        )
        for item, result in zip(items, results, strict=True)
    ]
    baselines = {
        name: values(suite.metrics, [suite.tally(item, suite.predict(item, policy)) for item in items], sure=False)
        for name, policy in suite.baselines().items()
    }
    return Report(
        suite=suite.name,
        title=suite.title,
        metrics=dict(suite.metrics),
        values=values(suite.metrics, [case.tally for case in cases]),
        cases=cases,
        baselines=baselines,
        references=suite.reference_rows(),
        notes=suite.notes,
        cost=total(case.cost for case in cases),
        provenance={**provenance, "source": suite.source},
    )


def _plain(tally: Tally) -> Tally:
    """The same tally in plain numbers: a suite may well count with truth values."""
    return {name: (float(score), float(count)) for name, (score, count) in tally.items()}


def values(metrics: Mapping[str, Metric], tallies: Sequence[Tally], sure: bool = True) -> dict[str, Value]:
    """Each metric's figure over the items; with `sure` also its interval."""
    found = {}
    spans = intervals(tallies, list(metrics)) if sure else {}
    for name, metric in metrics.items():
        pairs = [tally.get(name, (0.0, 0.0)) for tally in tallies]
        score, count = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        scale = 100 if metric.percent else 1
        if not count:
            found[name] = Value(None)
            continue
        low, high = spans.get(name, (None, None))
        found[name] = Value(
            scale * score / count,
            scale * low if low is not None else None,
            scale * high if high is not None else None,
            count,
        )
    return found


def to_json(report: Report) -> dict[str, Any]:
    """The report as its file holds it; `reports.from_json` gives it back."""
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": report.suite,
        "title": report.title,
        "n": len(report.cases),
        "failed": len(report.failures),
        "metrics": {name: {**asdict(report.metrics[name]), **asdict(value)} for name, value in report.values.items()},
        "baselines": {
            name: {key: {"value": value.value, "count": value.count} for key, value in row.items()}
            for name, row in report.baselines.items()
        },
        "references": [{"name": row.name, "note": row.note, "values": dict(row.values)} for row in report.references],
        "notes": list(report.notes),
        "cost": dict(report.cost),
        "provenance": dict(report.provenance),
        "items": [_case(case) for case in report.cases],
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "id": case.id,
        "stratum": case.stratum,
        "prediction": dict(case.prediction),
        "tally": {name: list(pair) for name, pair in case.tally.items()},
        "cost": dict(case.cost),
        "failed": list(case.failed),
    }
