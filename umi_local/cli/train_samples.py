"""`umi-local train data` and `show`: the samples, and what every training command needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from umi_local.training.runs import Run

RunFolder = Annotated[Path, typer.Option("--run", metavar="DIR", help="The run's folder.")]
RecipeName = Annotated[str, typer.Option("--recipe", metavar="NAME|FILE", help="What to train on, and how.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="UMI_LOCAL_DATA", help="The folder with train/ in it."),
]
BackboneFile = Annotated[
    Path | None, typer.Option("--backbone", metavar="FILE", help="The backbone's GGUF, where no pack can be fetched.")
]


def data(
    run: RunFolder,
    recipe: RecipeName = "cpu-0.5b",
    data: Data = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="Learn from your own stored runs too.")] = False,
    backbone: BackboneFile = None,
) -> None:
    """\b
    Examples:
      umi-local train data --run RUN --recipe cpu-0.5b --data DATA
      umi-local train data --run RUN --recipe cpu-0.5b --data DATA --sessions

    Draw or make the recipe's records and store them as tokens. Whatever is left out is counted, with the reason.
    Your own stored runs are taken only with --sessions, and only those that ended with an answer or gave up.
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    make_samples(run, recipe, data, sessions, backbone)


def make_samples(folder: Path, recipe: str, data: Path | None, sessions: bool, backbone: Path | None) -> Run:
    """Begin a run, or take the one that is there, and make its samples."""
    from itertools import chain

    from umi_local.errors import UsageError
    from umi_local.records import Fault
    from umi_local.sessions import open_store
    from umi_local.training import dataset
    from umi_local.training.mix import mixed, own_runs
    from umi_local.training.recipe import load_recipe
    from umi_local.training.runs import begin

    mixed(load_recipe(recipe), data, [])  # says what is missing before a run is begun
    run = begin(folder, recipe)
    faults: list[Fault] = []
    records = mixed(run.recipe, data, faults)
    if sessions:
        records = chain(records, own_runs(open_store()))
    tally = dataset.write(records, _writer(run, backbone), run.folder, faults)
    typer.echo(f"{'part':<24} {'samples':>8} {'target tokens':>14}")
    for name in sorted(tally.targets):
        typer.echo(f"{name:<24} {tally.samples[name]:>8,} {tally.targets[name]:>14,}")
    for reason, count in sorted(tally.left_out.items()):
        typer.echo(f"left out {count:,}: {reason}", err=True)
    missing = dataset.untaught(tally)
    if len(missing) == len(dataset.LEARNT):
        raise UsageError("No record made a sample, so there is nothing to learn from.", "Look at what was left out.")
    for told in missing:
        typer.echo(f"warning: no sample teaches {told}, so that cannot be trained on these.", err=True)
    return run


def show(
    run: RunFolder,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Which sample, counted from 1.")] = 1,
    backbone: BackboneFile = None,
) -> None:
    """\b
    Examples:
      umi-local train show --run RUN 12

    Show a sample's trunk and each role's turn behind it. What carries loss stands between « and ».
    """
    from umi_local.training.extra import need_the_extra

    need_the_extra()
    from itertools import islice

    from umi_local.errors import UsageError
    from umi_local.plain import printable
    from umi_local.training import dataset
    from umi_local.training.runs import Run

    sample = next(islice(dataset.read(run), number - 1, None), None)
    if sample is None:
        raise UsageError(f"There is no sample {number} in {run}.", "Name a smaller number.")
    words = _vocabulary(Run.of(run), backbone)
    typer.echo(f"{sample.id} ({sample.source}): {len(sample.trunk)} tokens, {sample.head} of them system and tools\n")
    typer.echo(printable(words.text(sample.trunk)))
    for turn in sample.turns:
        given, target = words.text(turn.tokens[: turn.given]), words.text(turn.tokens[turn.given :])
        typer.echo(f"--- behind token {turn.at}:\n{printable(given)}«{printable(target)}»\n")


def backbone_file(run: Run, named: Path | None) -> Path:
    """The backbone's GGUF: as named, or the pack's, fetched if need be."""
    from umi_local.cli.progress import download_progress
    from umi_local.errors import UsageError
    from umi_local.messages import Role
    from umi_local.packs import load_pack
    from umi_local.pull import pull

    if named is not None:
        if not named.is_file():
            raise UsageError(f"There is no file {named}.", "Name the backbone's GGUF with --backbone FILE.")
        return named.absolute()
    with download_progress() as on_progress:
        return pull(load_pack(run.recipe.pack).model(Role.PLANNER), on_progress)


def _vocabulary(run: Run, backbone: Path | None) -> Any:
    from umi_local.backends.llama_cpp.vocabulary import Vocabulary

    return Vocabulary(backbone_file(run, backbone))


def _writer(run: Run, backbone: Path | None) -> Any:
    from umi_local.assemble import sample_writer

    return sample_writer(run.recipe.pack, _vocabulary(run, backbone), run.recipe.longest)
