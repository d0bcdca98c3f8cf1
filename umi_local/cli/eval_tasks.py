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
from umi_local.cli.eval_suites import Fresh, check_folders, kept

if TYPE_CHECKING:
    from umi_local.evaluation.meter import Meter
    from umi_local.evaluation.store import Store
    from umi_local.evaluation.tasks import Run, Score, Task
    from umi_local.setups import Setup
    from umi_local.trajectory import Trajectory


def tasks(
    file: Annotated[Path, typer.Option("--file", metavar="F", help="Tasks, one JSON object per line.")],
    workspace: Annotated[Path, typer.Option("--workspace", metavar="DIR", help="The files that the tasks speak of.")],
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write a JSON report.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="The report on stdout instead of the table.")] = False,
    fresh: Fresh = False,
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
    from umi_local.evaluation.store import Store, evaluations_dir
    from umi_local.evaluation.tasks import read_tasks
    from umi_local.evaluation.tasks import report as as_report

    todo = read_tasks(file)
    check_folders(report, html)
    wanted = choices.resolve(pack, model, adapter, mode=mode, max_steps=max_steps, seed=seed, gpu_layers=gpu_layers)
    choices.pull_missing(wanted)
    choices.say_where_text_goes(wanted)
    workspace = choices.folder(workspace)
    facts, names = provenance(wanted, file), choices.tool_names(tools)
    settings = {"suite": "tasks", **facts, "workspace": digest_of(workspace), "tools": names, "allow": allow}
    store = Store(evaluations_dir(), settings, fresh)
    with kept(store), runner(wanted, workspace, names, allow or [], verbose) as (run, meter):
        told = as_report(_scored(todo, run, meter, store, json_output), **facts)
    _write(told, report, html)
    store.remove()
    if json_output:
        from umi_local.plain import as_json

        typer.echo(as_json(told))
    else:
        typer.echo(f"\n{told['passed']} of {told['n']} passed")


def _scored(todo: list[Task], run: Run, meter: Meter, store: Store, quiet: bool) -> list[Score]:
    """Each task's score, in a table as they come."""
    from umi_local.evaluation.tasks import run_tasks

    scores: list[Score] = []
    for score in run_tasks(todo, run, meter, store):
        if not quiet:
            typer.echo(_row(score) if scores else f"{_HEADING}\n{_row(score)}")
        scores.append(score)
    return scores


def _write(told: dict[str, object], report: Path | None, html: Path | None) -> None:
    from umi_local.evaluation.page import page
    from umi_local.evaluation.report_files import of_tasks, write_text
    from umi_local.plain import as_json

    if report:
        write_text(as_json(told) + "\n", report)
    if html:
        write_text(page(of_tasks(told)), html)


@contextmanager
def runner(
    wanted: Setup, workspace: Path, names: list[str] | None, allow: list[str], verbose: bool
) -> Iterator[tuple[Run, Meter]]:
    """How each task is run, and what it costs: one backend, a fresh copy of the workspace and empty notes for each."""
    from umi_local.assemble import agent_for, backend_for, broadcast, chosen_tools, context_for, toolbox_for
    from umi_local.cli.console import StepPrinter
    from umi_local.evaluation.meter import Meter
    from umi_local.toolbox import Approval, policy_of
    from umi_local.tools import BUILTIN_TOOLS

    # Without names those that come along: what a user has added would make scores differ between machines.
    chosen = chosen_tools([tool.name for tool in BUILTIN_TOOLS if tool.enabled] if names is None else names)
    meter, backend = Meter(), backend_for(wanted)

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
        yield run, meter
    finally:
        backend.close()


def provenance(wanted: Setup, file: Path) -> dict[str, object]:
    """What the numbers need to be repeated; `models` has each role's file."""
    import hashlib

    from umi_local.cli.provenance import provenance as of_setup

    known = of_setup(wanted)
    return {
        **known,
        "models": {role: about["model"] for role, about in known["roles"].items()},
        "file": file.name,
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def digest_of(folder: Path) -> str:
    """One digest of all files of a folder, by their names."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                held = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{held}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


_HEADING = f"{'task':<10} {'':<4} {'tools called':<38} {'answer':<60} {'seconds':>7}"


def _row(score: Score) -> str:
    from umi_local.plain import printable

    verdict = "ok" if score.passed else "FAIL"
    called = ("+" if score.tools_right else "-") + " " + (", ".join(score.called) or "none")
    answer = ("+" if score.answer_right else "-") + " " + " ".join(printable(score.answer or score.stop).split())
    return f"{score.task.id:<10} {verdict:<4} {called[:38]:<38} {answer[:60]:<60} {score.cost['wall_s']:>7.1f}"
