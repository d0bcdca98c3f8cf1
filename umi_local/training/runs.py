"""A training run as a folder: its recipe, its samples, a folder per stage, the finished adapters.

    recipe.toml  samples.jsonl.gz  data.json
    stages/NAME/ checkpoint.pt metrics.jsonl loss.png
    adapters/NAME/ adapter_model.safetensors adapter_config.json

The folder is all that a training machine needs beside the backbone; it reaches no registry.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from umi_local.errors import ConfigError, UsageError
from umi_local.messages import TEAM, Role
from umi_local.training import backbone, checkpoint, dataset
from umi_local.training.recipe import Recipe, Stage, load_recipe
from umi_local.training.samples import Sample
from umi_local.training.stage import Outcome, Plan, Progress, StageRun
from umi_local.training.storage import make_folder, replacing, writing

GLOBAL = "global"
MULTITASK = "multitask"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder and recipe."""

    folder: Path
    recipe: Recipe

    @classmethod
    def of(cls, folder: Path) -> Run:
        """The run that lies in a folder.

        Raises:
            UsageError: there is none.
        """
        path = folder / "recipe.toml"
        if not path.is_file():
            raise UsageError(f"{folder} is no training run.", "Begin one: umi-local train data --run DIR --recipe NAME")
        return cls(folder, load_recipe(str(path)))

    def adapter(self, name: str) -> Path:
        return self.folder / "adapters" / name

    def stage(self, name: str) -> Path:
        return self.folder / "stages" / name

    def samples(self, roles: Sequence[Role]) -> list[Sample]:
        """The samples in which these roles have turns."""
        return [sample for sample in dataset.read(self.folder) if any(turn.role in roles for turn in sample.turns)]

    def invocation(self, roles: Sequence[Role]) -> tuple[int, ...]:
        """The tokens that open these roles' turns, as far as they are the same, and so switch their adapter on.

        Raises:
            UsageError: a role has no turn in any sample.
        """
        openings: dict[Role, tuple[int, ...]] = {}
        for sample in dataset.read(self.folder):
            for turn in sample.turns:
                openings.setdefault(turn.role, turn.tokens[: turn.given])
            if openings.keys() >= set(roles):
                columns = zip(*(openings[role] for role in roles), strict=False)
                return tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
        missing = ", ".join(dataset.LEARNT[role] for role in roles if role not in openings)
        raise UsageError(
            f"No sample in {self.folder} teaches {missing}.",
            f"{dataset.DESCRIPTION} there says what was left out and why; make the samples anew with other parts.",
        )


@dataclass(frozen=True, slots=True)
class Shipped:
    """A pack's adapters as GGUF files by name, and their backbone's."""

    files: Mapping[str, Path]
    base: Path

    def state(self, name: str, model: Any) -> backbone.State:
        """The tensors of one of them in PEFT's form.

        Raises:
            UsageError: the pack has no such adapter.
            ModelCorrupt: it does not fit the recipe's adapters.
        """
        # Not needed on a machine that is lent for training, and not there in a bare checkout.
        from umi_local.convert.adapter import Backbone, read_adapter

        if name not in self.files:
            raise UsageError(f"The pack has no adapter for {name}.", "Leave out --from-pack.")
        keys = backbone.state_of(model, name)
        tensors = read_adapter(self.files[name], keys, Backbone.of(self.base))
        return {key: torch.from_numpy(tensor) for key, tensor in tensors.items()}


def begin(folder: Path, recipe: str) -> Run:
    """A new run with this recipe, or the one that lies there if it has the same.

    Raises:
        UsageError: the folder holds a run of another recipe.
        StorageError: it cannot be made.
    """
    wanted = load_recipe(recipe)
    path = folder / "recipe.toml"
    if path.is_file():
        run = Run.of(folder)
        if run.recipe != wanted:
            raise UsageError(f"{folder} holds a run with another recipe.", "Name another folder with --run.")
        return run
    make_folder(folder)
    with replacing(path) as file:
        file.write(_text_of(recipe).encode())
    return Run(folder, wanted)


def plan(run: Run, stage: str, roles: Sequence[Role], scratch: bool = False, within: float | None = None) -> Plan:
    """What a stage trains: the single model, one model that plays all roles, or else an adapter for each role.

    The roles go on from the global adapter unless `scratch`. The stage ends after `within` minutes of
    learning at the latest; to load, to evaluate and to save come on top.

    Raises:
        UsageError: there is no global adapter to go on from.
        ConfigError: the recipe has roles that are to learn together learn in different ways.
    """
    samples, seconds = dataset.digest(run.folder), math.inf if within is None else 60 * within
    if stage == GLOBAL:
        return Plan(stage, {Role.SINGLE.value: (Role.SINGLE,)}, run.recipe.stage(GLOBAL), {}, samples, seconds)
    if stage == MULTITASK:
        return Plan(stage, {MULTITASK: TEAM}, run.recipe.stage(MULTITASK), {}, samples, seconds)
    learn = _together(run.recipe, roles)
    start: Mapping[str, backbone.State] = {}
    if not scratch:
        first = checkpoint.load_adapter(run.adapter(Role.SINGLE.value))
        start = {role.value: first for role in roles}
    return Plan(stage, {role.value: (role,) for role in roles}, learn, start, samples, seconds)


def train(
    run: Run,
    wanted: Plan,
    model: Any,
    time_is_up: Callable[[], bool],
    tell: Callable[[Progress], None],
    shipped: Shipped | None = None,
) -> Outcome:
    """Train a stage to its end or until the time is up, and put its finished adapters where they belong.

    With `shipped` the adapters go on from a pack's instead of from what the plan says.
    """
    invocations = {name: run.invocation(roles) for name, roles in wanted.adapters.items()}
    adapted = backbone.with_adapters(model, run.recipe.adapter, invocations, run.recipe.seed)
    if shipped is not None:
        wanted = replace(wanted, start={name: shipped.state(name, adapted) for name in wanted.adapters})
    stage = StageRun(adapted, run.recipe, wanted, run.samples(wanted.roles), run.stage(wanted.name))
    outcome = stage.train(time_is_up, tell)
    if outcome.finished and stage.accelerator.is_main_process:
        for name in wanted.adapters:
            target = run.adapter(name)
            make_folder(target.parent)
            with writing(target):
                if target.exists():
                    shutil.rmtree(target)
                (run.stage(wanted.name) / name).replace(target)
    return outcome


def stage_name(roles: Sequence[Role]) -> str:
    """The folder of a stage that trains these roles together."""
    return "roles" if set(roles) == set(TEAM) else "-".join(role.value for role in roles)


def _together(recipe: Recipe, roles: Sequence[Role]) -> Stage:
    """How roles learn beside one another: in one way, since they share each optimizer step."""
    learn = recipe.stage(roles[0].value)
    for role in roles:
        if recipe.stage(role.value) != learn:
            raise ConfigError(
                f"The recipe has the {role} learn in another way than the {roles[0]}, so they cannot learn together.",
                f"Train them one by one: umi-local train role --role {role}",
            )
    return learn


def _text_of(recipe: str) -> str:
    from importlib.resources import files

    from umi_local.training.recipe import RECIPES

    path = Path(recipe)
    source = path if path.is_file() else files(RECIPES).joinpath(f"{recipe}.toml")
    return source.read_text(encoding="utf-8")
