"""`umi-local eval SUITE`: one command per suite of the registry, all with the same options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umi_local.cli import choices

if TYPE_CHECKING:
    from umi_local.evaluation import Report, Store, Suite
    from umi_local.evaluation.suites import Entry
    from umi_local.setups import Setup

_Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The folder with eval/. Default: $UMI_LOCAL_DATA")
]
_File = Annotated[Path | None, typer.Option("--file", metavar="F", help="This file instead of the one in --data.")]
_Split = Annotated[str, typer.Option("--split", metavar="NAME", help="Which part of the suite.")]
_Gold = Annotated[bool, typer.Option("--gold-plan", help="Also measure the other roles on the gold plan.")]
_Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="A stratified sample of N items.")]
_Report = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Where the JSON report goes.")]
_Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")]
_Predictions = Annotated[
    Path | None, typer.Option("--predictions", metavar="FILE", help="Also the input of the paper's own evaluator.")
]
_Compare = Annotated[
    list[Path] | None, typer.Option("--compare", metavar="REPORT", help="Compare with this report. Repeatable.")
]
_Json = Annotated[bool, typer.Option("--json", help="The report on stdout instead of the table.")]
_Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Items at a time, for models on servers.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not go on with a run that was broken off.")]


@dataclass(frozen=True)
class _Output:
    """Where the results go; None where they are not wanted."""

    report: Path | None
    html: Path | None
    predictions: Path | None
    compare: list[Path]
    as_json: bool


def suite_command(name: str, entry: Entry) -> Callable[..., None]:
    """The command of one suite."""

    def command(
        data: _Data = None,
        file: _File = None,
        split: _Split = "",
        gold_plan: _Gold = False,
        limit: _Limit = None,
        report: _Report = None,
        html: _Html = None,
        predictions: _Predictions = None,
        compare: _Compare = None,
        json_output: _Json = False,
        fresh: Fresh = False,
        jobs: _Jobs = 1,
        pack: choices.Pack = "",
        model: choices.Models = None,
        adapter: choices.Adapters = None,
        mode: choices.ModeName = "",
        max_steps: choices.MaxSteps = None,
        seed: choices.Seed = None,
        gpu_layers: choices.GpuLayers = "",
    ) -> None:
        # Each item lists tools of its own: kept beginnings would push the user's out and never be used.
        flags = {"mode": mode, "max_steps": max_steps, "seed": seed, "gpu_layers": gpu_layers, "snapshot_megabytes": 0}
        wanted = choices.resolve(pack, model, adapter, **flags)
        options = {"split": split, "file": str(file or ""), "gold_plan": "yes" if gold_plan else ""}
        output = _Output(report, html, predictions, compare or [], json_output)
        measure_suite(name, data, options, wanted, limit, fresh, jobs, output)

    command.__doc__ = _help(name, entry)
    return command


def measure_suite(
    name: str,
    data: Path | None,
    options: Mapping[str, str],
    wanted: Setup,
    limit: int | None,
    fresh: bool,
    jobs: int,
    output: _Output,
) -> None:
    """Measure, then write and print what was asked for. All that can be wrong is looked at before the first item."""
    from umi_local.cli.provenance import provenance
    from umi_local.evaluation import Store, suite_named
    from umi_local.evaluation.comparison import check_comparable
    from umi_local.evaluation.report_files import read_report
    from umi_local.evaluation.store import evaluations_dir

    _check(options, wanted, output, name, jobs)
    suite = suite_named(name, data, {**options, "style": wanted.pack.style if wanted.pack else "chat"})
    earlier = [read_report(path) for path in output.compare]
    given = {key: value for key, value in options.items() if value and key != "file"}
    for one in earlier:
        check_comparable(one, name, {**given, "source": suite.source})
    choices.pull_missing(wanted)
    choices.say_where_text_goes(wanted)
    facts = provenance(wanted)
    settings = {"suite": name, "source": suite.source, "options": given, **facts}
    store = Store(evaluations_dir(), settings, fresh)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    report = _measured(suite, wanted, store, limit, jobs, {**facts, **given, "date": date})
    _write(suite, report, output)
    store.remove()
    _print(report, earlier, output)


def _measured(
    suite: Suite, wanted: Setup, store: Store, limit: int | None, jobs: int, facts: Mapping[str, Any]
) -> Report:
    from umi_local.assemble import backend_for, contestant_for
    from umi_local.cli.eval_print import ProgressLine
    from umi_local.evaluation import Meter, measure

    meter, backend = Meter(), backend_for(wanted)
    try:
        contestant = contestant_for(wanted, backend, meter)
        progress = ProgressLine(suite.name)
        seed = wanted.settings.seed
        with kept(store):
            return measure(suite, contestant, store, limit, seed, progress, meter=meter, jobs=jobs, provenance=facts)
    finally:
        backend.close()


def _check(options: Mapping[str, str], wanted: Setup, output: _Output, name: str, jobs: int) -> None:
    from umi_local.errors import UsageError

    if jobs > 1 and wanted.local_roles:
        raise UsageError("--jobs is for models on servers: llama.cpp's process takes one turn at a time.")
    if options.get("gold_plan") and wanted.settings.mode == "single":
        raise UsageError("--gold-plan needs a team: a single model writes its plan and its call in one go.")
    if output.compare and output.as_json:
        raise UsageError("--json prints the report alone.", "Compare afterwards: umi-local eval compare --json")
    if output.predictions and name != "toolbench":
        raise UsageError("--predictions is for toolbench alone.")
    check_folders(output.report, output.html, output.predictions)


def check_folders(*paths: Path | None) -> None:
    """That each file's folder is there, before hours of work are written to it. Raises UsageError if it is not."""
    from umi_local.errors import UsageError

    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} for {path.name}.", "Make it first.")


@contextmanager
def kept(store: Store) -> Iterator[None]:
    """Says at the beginning what is done already, and at a failure that what is finished by then is kept."""
    from umi_local.errors import UmiError

    if store.finished:
        typer.echo(f"Going on with a run that was broken off: {len(store.finished)} items are done.", err=True)
    try:
        yield
    except (UmiError, KeyboardInterrupt):
        typer.echo(f"\n{len(store.finished)} finished items are kept; the same command goes on from there.", err=True)
        raise


def _write(suite: Suite, report: Report, output: _Output) -> None:
    import json

    from umi_local.evaluation.page import page
    from umi_local.evaluation.report_files import write_report, write_text
    from umi_local.evaluation.store import evaluations_dir
    from umi_local.evaluation.toolbench import ToolBench

    stamp = str(report.provenance["date"]).replace(":", "")[:17]
    path = output.report or evaluations_dir() / f"{suite.name}-{stamp}.json"
    write_report(report, path)
    typer.echo(f"The report is in {path}", err=True)
    if output.html:
        write_text(page(report), output.html)
    if output.predictions and isinstance(suite, ToolBench):
        steps = suite.evaluator_input({case.id: case.prediction for case in report.cases})
        write_text(json.dumps(steps, indent=1) + "\n", output.predictions)


def _print(report: Report, earlier: list[Report], output: _Output) -> None:
    from umi_local.cli.eval_print import comparison_text, report_text
    from umi_local.evaluation import compare
    from umi_local.evaluation.report import to_json
    from umi_local.plain import as_json

    if output.as_json:
        typer.echo(as_json(to_json(report)))
        return
    typer.echo(report_text(report))
    if earlier:
        labels = [*(path.name for path in output.compare), "this run"]
        typer.echo("\n" + comparison_text(compare([*earlier, report], labels)))


def _help(name: str, entry: Entry) -> str:
    own = [f"--{option.replace('_', '-')}" for option in sorted(entry.options)]
    return f"""\b
    Examples:
      umi-local eval {name} --data DATA
      umi-local eval {name} --data DATA --limit 50 --mode single --report single.json --html single.html

    {entry.help}

    Options of its own: {", ".join(own)}. Every finished item is kept: after Ctrl-C or a crash the same command goes
    on where it stopped.
    """
