"""Suites, metrics and reports, for this project's agent and for anybody's.

A contestant needs a crew that plans, calls and answers (three methods, see `umi_local.roles.Crew`), or a callable that
makes whole runs, or both, depending on the suite. Nothing needs to inherit:

    from umi_local.evaluation import Contestant, Policy, measure, suite_named, write_report
    from umi_local.messages import ToolCall
    from umi_local.trajectory import Next

    mine = Policy(
        decide=lambda run: Next.CONCLUDE if run.steps else Next.CALL,
        act=lambda run: ToolCall(run.tools[0].name, {}),      # ask any model or server here
        answer=lambda run: "That is all I found.",
    )
    report = measure(suite_named("toolbench", Path("data")), Contestant(mine, run_of_mine))
    print(report.values["plan_em"])
    write_report(report, Path("mine.json"))

Any `Backend` (see `umi_local.protocols`) makes a crew too: `umi_local.assemble.contestant_for` does it for llama.cpp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umi_local.evaluation.comparison import Comparison, compare
    from umi_local.evaluation.measuring import Progress, measure
    from umi_local.evaluation.meter import Meter
    from umi_local.evaluation.report import Report
    from umi_local.evaluation.report_files import read_report, write_report
    from umi_local.evaluation.store import Store
    from umi_local.evaluation.suite import Contestant, Item, Metric, Policy, ReferenceRow, Suite
    from umi_local.evaluation.suites import SUITES, suite_named

__all__ = [
    "SUITES",
    "Comparison",
    "Contestant",
    "Item",
    "Meter",
    "Metric",
    "Policy",
    "Progress",
    "ReferenceRow",
    "Report",
    "Store",
    "Suite",
    "compare",
    "measure",
    "read_report",
    "suite_named",
    "write_report",
]

# The command line imports this package to list the suites, and must not wait for the rest of it.
_HOME = {
    **dict.fromkeys(("Comparison", "compare"), "comparison"),
    **dict.fromkeys(("Progress", "measure"), "measuring"),
    **dict.fromkeys(("read_report", "write_report"), "report_files"),
    **dict.fromkeys(("Contestant", "Item", "Metric", "Policy", "ReferenceRow", "Suite"), "suite"),
    **dict.fromkeys(("SUITES", "suite_named"), "suites"),
    "Meter": "meter",
    "Report": "report",
    "Store": "store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
