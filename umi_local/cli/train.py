"""`umi-local train`: the paper's recipe, from recorded runs to adapters that ship."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umi_local.cli.train_samples import (
    BackboneFile,
    Data,
    RecipeName,
    RunFolder,
    backbone_file,
    data,
    make_samples,
    show,
)

if TYPE_CHECKING:
    from umi_local.messages import Role
    from umi_local.training.runs import Run, Shipped
    from umi_local.training.stage import Plan, Progress

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local train data --run RUN --recipe cpu-0.5b --data DATA
      umi-local train global --run RUN --max-minutes 60
      umi-local train role --run RUN
      umi-local train export --run RUN --out ADAPTERS

    Train the roles: one backbone on whole steps (global), then each role from there on its own part (local).
    Needs the extra: pip install 'umi-local[train]'
    """,
)

Minutes = Annotated[
    float | None,
    typer.Option(
        "--max-minutes", metavar="N", min=0, help="Stop after the step in which N minutes are up; the same goes on."
    ),
]
Within = Annotated[
    float | None,
    typer.Option("--within", metavar="N", min=0.01, help="End the stage after N minutes of learning, whole."),
]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="R", help="Only this role. Repeatable.")]
Scratch = Annotated[bool, typer.Option("--scratch", help="Start from no adapter: the paper's one-stage baseline.")]
FromPack = Annotated[bool, typer.Option("--from-pack", help="Go on from the adapters of the recipe's pack.")]
Device = Annotated[str, typer.Option("--device", metavar="cpu|cuda", help="Where to train.")]

app.command(short_help="Make the samples of a recipe.")(data)
app.command(short_help="Show a sample and which of its text carries loss.")(show)


@app.command(name="global", short_help="Stage 1: the backbone learns whole steps.")
def global_stage(
    run: RunFolder,
    from_pack: FromPack = False,
    max_minutes: Minutes = None,
    within: Within = None,
    backbone: BackboneFile = None,
    device: Device = "cpu",
) -> None:
    """\b
    Examples:
      umi-local train global --run RUN --max-minutes 60

    Train one adapter on whole steps: rationale and call, or rationale and answer.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from umi_local.training.runs import GLOBAL, Run, plan

    begun = Run.of(run)
    _stage(begun, plan(begun, GLOBAL, (), within=within), max_minutes, backbone, device, from_pack)


@app.command(short_help="Stage 2: each role goes on from there on its own part.")
def role(
    run: RunFolder,
    role: Roles = None,
    scratch: Scratch = False,
    from_pack: FromPack = False,
    max_minutes: Minutes = None,
    within: Within = None,
    backbone: BackboneFile = None,
    device: Device = "cpu",
) -> None:
    """\b
    Examples:
      umi-local train role --run RUN
      umi-local train role --run RUN --role planner --max-minutes 30
      umi-local train role --run RUN --from-pack

    Train an adapter per role. Without --role all three learn together, which reads each run once.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from umi_local.training.runs import Run, plan, stage_name

    begun, roles = Run.of(run), _roles(role)
    wanted = plan(begun, stage_name(roles), roles, scratch or from_pack, within)
    _stage(begun, wanted, max_minutes, backbone, device, from_pack)


@app.command(short_help="The paper's baseline: one adapter that plays all three roles.")
def multitask(
    run: RunFolder,
    max_minutes: Minutes = None,
    within: Within = None,
    backbone: BackboneFile = None,
    device: Device = "cpu",
) -> None:
    """\b
    Examples:
      umi-local train multitask --run RUN --max-minutes 60

    Train one adapter on the turns of planner, caller and summarizer alike, each known by its prompt alone. To be
    compared with the roles' own adapters; it is no step towards them.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from umi_local.messages import TEAM
    from umi_local.training.runs import MULTITASK, Run, plan

    begun = Run.of(run)
    _stage(begun, plan(begun, MULTITASK, TEAM, within=within), max_minutes, backbone, device)


@app.command(name="all", short_help="Data, both stages and the export in one go.")
def everything(
    run: RunFolder,
    recipe: RecipeName = "cpu-0.5b",
    data: Data = None,
    max_minutes: Minutes = None,
    backbone: BackboneFile = None,
    device: Device = "cpu",
) -> None:
    """\b
    Examples:
      umi-local train all --run RUN --recipe cpu-0.5b --data DATA

    What is done already is not done again, so the same command goes on after a kill.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from umi_local.messages import TEAM
    from umi_local.training.dataset import DESCRIPTION
    from umi_local.training.runs import GLOBAL, begin, plan, stage_name

    until = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    made = (run / DESCRIPTION).is_file()
    begun = begin(run, recipe) if made else make_samples(run, recipe, data, False, backbone)
    if not begun.adapter("single").is_dir():
        _stage(begun, plan(begun, GLOBAL, ()), (until - time.monotonic()) / 60, backbone, device)
    wanted = [each for each in TEAM if not begun.adapter(each.value).is_dir()]
    if wanted and begun.adapter("single").is_dir():
        _stage(begun, plan(begun, stage_name(wanted), wanted), (until - time.monotonic()) / 60, backbone, device)
    if all(begun.adapter(each.value).is_dir() for each in TEAM):
        _export(begun, run / "gguf", backbone)


@app.command(short_help="Write the finished adapters as GGUF.")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the adapters go.")],
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also from a stage that is not done yet.")] = False,
    backbone: BackboneFile = None,
) -> None:
    """\b
    Examples:
      umi-local train export --run RUN --out ADAPTERS
      umi-local train export --run RUN --out ADAPTERS --unfinished

    Write each finished adapter for llama.cpp, with the tokens that switch it on, and `files.toml` with the lines that
    put them into a pack's manifest.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from umi_local.training.runs import Run

    _export(Run.of(run), out, backbone, unfinished)


@app.command(short_help="The mean of adapters that come from one another.")
def average(
    adapters: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False, help="Exported adapters.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the mean goes.")],
) -> None:
    """\b
    Examples:
      umi-local train average before/planner.gguf after/planner.gguf --out planner.gguf

    Write the mean of adapters of one role of which one was trained on from the other. What a longer training unlearns
    beside what it was for, the mean often keeps.
    """
    from umi_local.training.average import average as write

    write(adapters, out)
    typer.echo(f"{out}  {out.stat().st_size / 1e6:.1f} MB")


def _export(run: Run, out: Path, backbone: Path | None, unfinished: bool = False) -> None:
    from umi_local.training.export import export as write

    for file in write(run, backbone_file(run, backbone), out, unfinished):
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


def _stage(
    run: Run, wanted: Plan, minutes: float | None, backbone: Path | None, device: str, from_pack: bool = False
) -> None:
    """Train a stage with a line of progress per step, and say how to go on if the time was up."""
    from accelerate import PartialState

    from umi_local.training.backbone import load
    from umi_local.training.plot import draw_losses
    from umi_local.training.runs import train

    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    for roles in wanted.adapters.values():
        run.invocation(roles)  # says what is missing before the backbone is loaded
    file = backbone_file(run, backbone)
    shipped = _shipped(run, file) if from_pack else None
    outcome = train(run, wanted, load(file, device), lambda: time.monotonic() >= until, _tell, shipped)
    if not PartialState().is_main_process:
        return
    draw_losses(run.stage(wanted.name))
    spent = f"{outcome.steps} steps in {outcome.seconds / 60:.1f} minutes"
    if outcome.finished:
        typer.echo(f"The stage {wanted.name} is finished: {spent}.")
    else:
        typer.echo(f"The time is up after {spent}. The same command goes on from here.")


def _shipped(run: Run, backbone: Path) -> Shipped:
    """The adapters of the recipe's pack."""
    from umi_local.messages import Role
    from umi_local.packs import load_pack
    from umi_local.pull import ensure_verified
    from umi_local.training.runs import Shipped

    pack = load_pack(run.recipe.pack)
    return Shipped(
        {role.value: ensure_verified(file) for role in Role if (file := pack.adapter(role)) is not None}, backbone
    )


def _tell(progress: Progress) -> None:
    losses = "  ".join(f"{name} {loss:.3f}" for name, loss in progress.losses.items())
    held_out = "  ".join(f"{name} {loss:.3f}" for name, loss in progress.held_out.items())
    step, left = f"{progress.step:>5}/{progress.steps}", _clock(progress.left)
    typer.echo(
        f"{step}  loss {losses}  lr {progress.learning_rate:.1e}  {left} left"
        + (f"  held out {held_out}" if held_out else ""),
        err=True,
    )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _roles(names: list[str] | None) -> tuple[Role, ...]:
    from umi_local.errors import UsageError
    from umi_local.messages import TEAM

    known = {role.value: role for role in TEAM}
    for name in names or ():
        if name not in known:
            raise UsageError(f"There is no role {name!r} to train.", f"The roles are: {', '.join(known)}.")
    return tuple(role for name, role in known.items() if not names or name in names)
