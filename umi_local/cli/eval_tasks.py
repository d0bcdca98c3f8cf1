"""`umi-local eval tasks`: everyday tasks with real tools."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli import choices

if TYPE_CHECKING:
    from umi_local.evaluation.tasks import Run, Score
    from umi_local.protocols import Emit
    from umi_local.setups import Setup
    from umi_local.trajectory import Trajectory


def tasks(
    file: Annotated[Path, typer.Option("--file", metavar="F", help="Tasks, one JSON object per line.")],
    workspace: Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The files that the tasks speak of.")],
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write a JSON report.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="The report on stdout instead of the table.")] = False,
    pack: choices.Pack = "",
    model: choices.Models = None,
    adapter: choices.Adapters = None,
    mode: choices.ModeName = "",
    tools: choices.Tools = None,
    allow: choices.Allow = None,
    max_steps: choices.MaxSteps = None,
    seed: choices.Seed = None,
    gpu_layers: choices.GpuLayers = "",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the steps of each task on stderr.")] = False,
) -> None:
    """\b
    Examples:
      umi-local eval tasks --file tasks.jsonl --workspace files
      umi-local eval tasks --file tasks.jsonl --workspace files --mode single --json

    Run everyday tasks end to end, with real tools on a copy of the workspace, and score them.

    A task is a JSON object on a line: `id`, `query`, `tools` (what a right run calls at least; empty: it must call
    none), and what the answer must contain: `answer_any`, `answer_all` (lists of texts; case and thousands commas do
    not matter), `answer_today` (weekday, year, month or date).
    """
    from umi_local.evaluation.meter import Meter
    from umi_local.evaluation.tasks import dump, read_tasks, run_tasks
    from umi_local.evaluation.tasks import report as as_report

    todo = read_tasks(file)
    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, seed=seed, gpu_layers=gpu_layers)
    choices.pull_missing(wanted)
    choices.say_where_text_goes(wanted)
    scores: list[Score] = []
    meter = Meter()
    with runner(wanted, workspace, choices.tool_names(tools), allow or [], meter, verbose) as run:
        if not json_output:
            typer.echo(_HEADING)
        for score in run_tasks(todo, run, meter):
            scores.append(score)
            if not json_output:
                typer.echo(_row(score))
    told = as_report(scores, **provenance(wanted, file))
    if report:
        dump(told, report)
    if html:
        from umi_local.evaluation.page import page
        from umi_local.evaluation.report_files import of_tasks, write_text

        write_text(page(of_tasks(told)), html)
    if json_output:
        from umi_local.plain import as_json

        typer.echo(as_json(told))
    else:
        typer.echo(f"\n{told['passed']} of {told['n']} passed")


@contextmanager
def runner(
    wanted: Setup, workspace: Path, names: list[str] | None, allow: list[str], meter: Emit, verbose: bool
) -> Iterator[Run]:
    """How each task is run: one backend for all, a fresh copy of the workspace and empty notes for each."""
    from umi_local.assemble import agent_for, backend_for, broadcast, chosen_tools, context_for, toolbox_for
    from umi_local.cli.console import StepPrinter
    from umi_local.errors import UsageError
    from umi_local.toolbox import Approval, policy_of
    from umi_local.tools import BUILTIN_TOOLS

    if not workspace.is_dir():
        raise UsageError(f"The workspace {workspace} is not a folder.", "Name one with --workspace DIR.")
    # Without names those that come along: what a user has added would make scores differ between machines.
    chosen = chosen_tools([tool.name for tool in BUILTIN_TOOLS if tool.enabled] if names is None else names)
    backend = backend_for(wanted)

    def run(query: str) -> Trajectory:
        if verbose:
            typer.echo(f"\n{query}", err=True)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, "workspace")
            shutil.copytree(workspace, copy)
            toolbox = toolbox_for(chosen, copy, Approval(policy_of(allow=allow)), notes=Path(scratch, "notes.md"))
            agent = agent_for(wanted, backend, toolbox, broadcast(meter, StepPrinter() if verbose else None))
            return agent.run(query, context=context_for(toolbox))

    try:
        yield run
    finally:
        backend.close()


def provenance(wanted: Setup, file: Path) -> dict[str, object]:
    """What the numbers need to be repeated; `models` has each role's file."""
    import hashlib

    from umi_local.cli.provenance import provenance as of_setup

    known = of_setup(wanted)
    return {
        "pack": known["pack"],
        "mode": known["mode"],
        "models": {role: about["model"] for role, about in known["roles"].items()},
        "roles": known["roles"],
        "seed": known["seed"],
        "temperature": known["temperature"],
        "file": file.name,
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "versions": known["versions"],
    }


_HEADING = f"{'task':<10} {'':<4} {'tools called':<38} {'answer':<60} {'seconds':>7}"


def _row(score: Score) -> str:
    from umi_local.plain import printable

    verdict = "ok" if score.passed else "FAIL"
    called = ("+" if score.tools_right else "-") + " " + (", ".join(score.called) or "none")
    answer = ("+" if score.answer_right else "-") + " " + " ".join(printable(score.answer or score.stop).split())
    return f"{score.task.id:<10} {verdict:<4} {called[:38]:<38} {answer[:60]:<60} {score.cost['wall_s']:>7.1f}"
