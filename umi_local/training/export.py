"""Finished adapters as GGUF files beside their backbone, with the lines that put them into a pack."""

from __future__ import annotations

import hashlib
from pathlib import Path

from umi_local.convert.adapter import Backbone, write_adapter
from umi_local.convert.output import partial
from umi_local.errors import UsageError
from umi_local.messages import TEAM, Role
from umi_local.training.backbone import State
from umi_local.training.checkpoint import last, load_adapter
from umi_local.training.runs import MULTITASK, Run
from umi_local.training.storage import make_folder

LICENCE = "Apache-2.0"


def export(run: Run, backbone: Path, out: Path, unfinished: bool = False) -> list[Path]:
    """Write every finished adapter of the run as `NAME.gguf` in float16, and `files.toml` for a manifest.

    With `unfinished` an adapter that a stage is still training is taken from the stage's last checkpoint.

    Raises:
        UsageError: there is none.
        StorageError: a file cannot be written; what lay there before is whole.
    """
    plays = {role.value: (role,) for role in Role} | {MULTITASK: TEAM}
    found = {name: state for name in plays if (state := _state(run, name, unfinished))}
    if not found:
        raise UsageError(f"No adapter in {run.folder} is finished.", "Train a stage to its end, or add --unfinished.")
    make_folder(out)
    facts = Backbone.of(backbone)
    written = []
    for name, state in found.items():
        tensors = {key: tensor.numpy() for key, tensor in state.items()}
        path = out / f"{name}.gguf"
        opening, alpha = run.invocation(plays[name]), run.recipe.adapter.alpha
        with partial(path, replaces=True) as draft:
            write_adapter(draft, tensors, alpha, facts, opening, f"umi-local {name}")
        written.append(path)
    with partial(out / "files.toml", replaces=True) as draft:
        draft.write_text("\n".join(_entry(path) for path in written), encoding="utf-8")
    return written


def _state(run: Run, name: str, unfinished: bool) -> State | None:
    if run.adapter(name).is_dir():
        return load_adapter(run.adapter(name))
    stages = run.folder / "stages"
    for stage in sorted(stages.iterdir()) if unfinished and stages.is_dir() else ():
        state = last(stage)
        if state is not None and name in state.adapters:
            return state.adapters[name]
    return None


def _entry(path: Path) -> str:
    """The lines of a pack's manifest that describe an adapter lying in a folder beside it."""
    raw = path.read_bytes()
    return f"""[files.{path.stem}]
filename = "{path.name}"
bytes = {len(raw):_}
sha256 = "{hashlib.sha256(raw).hexdigest()}"
licence = "{LICENCE}"
kind = "adapter"
sources = [{{ type = "shipped", path = "{path.parent.name}/{path.name}" }}]
"""
