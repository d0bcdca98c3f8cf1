"""`umi-local eval show`, `compare` and `results`: reports that were written before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from umi_local.evaluation.report import Case

_Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page with plots.")]


def show(
    report: Annotated[Path, typer.Argument(metavar="REPORT")],
    failed: Annotated[bool, typer.Option("--failed", help="List the items that went wrong.")] = False,
    item: Annotated[list[str] | None, typer.Option("--item", metavar="ID", help="Open this item. Repeatable.")] = None,
    html: _Html = None,
) -> None:
    """\b
    Examples:
      umi-local eval show report.json
      umi-local eval show report.json --failed
      umi-local eval show report.json --item 042

    Read a report: its table, the items that went wrong, or one item with all that was written.
    """
    from umi_local.cli.eval_print import case_line, case_text, report_text
    from umi_local.evaluation.page import page
    from umi_local.evaluation.report_files import read_report, write_text

    told = read_report(report)
    if html:
        write_text(page(told), html)
    if item:
        typer.echo("\n\n".join(case_text(_case(told.cases, name)) for name in item))
    elif failed:
        for case in told.failures:
            typer.echo(case_line(case))
        typer.echo(f"\n{len(told.failures)} of {len(told.cases)} items have something wrong. Open one with --item ID.")
    elif not html:
        typer.echo(report_text(told))


def compare(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT REPORT...")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """\b
    Examples:
      umi-local eval compare before.json after.json --html compared.html
      umi-local eval compare multi.json single.json q4.json --json

    Compare reports of one suite with the first of them, on the items that all share: the difference of every metric
    with the 95 % interval of a paired bootstrap over items, and the cost per item.
    """
    from umi_local.cli.eval_print import comparison_text
    from umi_local.errors import UsageError
    from umi_local.evaluation import compare as compared
    from umi_local.evaluation import read_report
    from umi_local.evaluation.comparison import to_json
    from umi_local.evaluation.comparison_page import comparison_page
    from umi_local.evaluation.report_files import write_text
    from umi_local.plain import as_json

    if len(reports) < 2:
        raise UsageError("There is nothing to compare with.", "Name two reports or more.")
    result = compared([read_report(path) for path in reports], _labels(reports))
    if html:
        write_text(comparison_page(result), html)
    typer.echo(as_json(to_json(result)) if json_output else comparison_text(result))


def results(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT...")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there.")] = None,
    intro: Annotated[
        Path | None, typer.Option("--intro", metavar="FILE", help="What is to be said of the figures, in Markdown.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Also write each report there, its scores alone, without texts."),
    ] = None,
) -> None:
    """\b
    Examples:
      umi-local eval results tasks.json toolbench.json toolbench-single.json --out RESULTS.md
      umi-local eval results reports/*.json --keep docs/reports --out RESULTS.md

    Reports of any suites as one page of Markdown: a table per suite, a row per report, with what others reached.
    What --keep writes gives the same page again and holds nothing of a benchmark's questions, so it can be published.
    """
    from umi_local.evaluation.report_files import make_folder, read_report, read_text, write_report, write_text
    from umi_local.evaluation.results import results_page

    found = [read_report(path) for path in reports]
    text = results_page(found, read_text(intro) if intro else "")
    if keep:
        make_folder(keep)
        for label, report in zip(_labels(reports), found, strict=True):
            write_report(report.scores_only(), keep / f"{label.replace('/', '-').removesuffix('.json')}.json")
    if out:
        write_text(text, out)
    else:
        typer.echo(text)


def _case(cases: Sequence[Case], name: str) -> Case:
    from umi_local.errors import UsageError

    for case in cases:
        if case.id == name:
            return case
    raise UsageError(f"The report has no item {name!r}.", "List them with --failed, or read the report itself.")


def _labels(paths: Sequence[Path]) -> list[str]:
    """The files' names, with their folders where the names alone are the same."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
