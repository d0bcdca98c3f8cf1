"""What a stage leaves on disk: checkpoints that a kill cannot break, metrics, and finished adapters in PEFT's form."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from umi_local.errors import ModelCorrupt, UsageError
from umi_local.training.storage import make_folder, replacing, writing

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
NOTHING = "nothing"  # stands for the digest of no adapters
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """A stage after `step` optimizer steps and `seconds` of work, on the samples of this digest.

    `finished` if it came to its end, by its data or by its clock. `start` is the digest of the adapters that it was
    begun with; earlier versions did not note it.
    """

    samples: str
    step: int
    seconds: float
    adapters: Mapping[str, Mapping[str, torch.Tensor]]
    optimizer: dict[str, Any]
    finished: bool = False
    start: str = ""


def save(folder: Path, state: State) -> None:
    """Replace the last checkpoint in one move.

    Raises:
        StorageError: there is no room; the checkpoint before it is whole.
    """
    make_folder(folder)
    with replacing(folder / CHECKPOINT, RuntimeError) as file:
        torch.save({field: getattr(state, field) for field in State.__dataclass_fields__}, file)


def digest_of(adapters: Mapping[str, Mapping[str, torch.Tensor]]) -> str:
    """The sha256 of adapters' tensors; `NOTHING` where there are none."""
    if not adapters:
        return NOTHING
    digest = hashlib.sha256()
    for name, tensors in sorted(adapters.items()):
        for key, tensor in sorted(tensors.items()):
            digest.update(f"{name} {key}".encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def last(folder: Path) -> State | None:
    """The last checkpoint, or None where the stage has not begun.

    Raises:
        ModelCorrupt: it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        return State(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError):
        raise ModelCorrupt(f"The checkpoint {path} is damaged.", "Remove it to begin the stage again.") from None


def save_adapter(folder: Path, model: Any, name: str) -> None:
    """A finished adapter in PEFT's own form, in `folder`. Raises StorageError if it cannot be written."""
    make_folder(folder)
    with writing(folder, SafetensorError):
        # Without embeddings, which no adapter changes: to find that out, PEFT would look for the model's configuration.
        model.save_pretrained(folder, selected_adapters=[name], save_embedding_layers=False)
        nested = folder / name
        for file in nested.iterdir():
            file.replace(folder / file.name)
        nested.rmdir()


def load_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """A finished adapter's tensors.

    Raises:
        UsageError: there is none.
        ModelCorrupt: the file is damaged.
    """
    path = folder / _WEIGHTS
    if not path.is_file():
        raise UsageError(f"There is no finished adapter in {folder}.", "Train the stage before it to its end first.")
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelCorrupt(f"{path} is damaged: {error}.", "Train that stage again.") from None
    return tensors


def append_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Note a step. Raises StorageError if it cannot be written."""
    make_folder(folder)
    path = folder / METRICS
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(metrics) + "\n")


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """One entry per optimizer step, oldest first; a line cut short by a kill is left out."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def forget_metrics(folder: Path, after: int) -> None:
    """Steps behind the checkpoint are done again, so what was noted of them goes.

    Raises:
        StorageError: the file cannot be written; it is as it was then.
    """
    kept = [entry for entry in metrics_of(folder) if entry["step"] <= after]
    make_folder(folder)
    with replacing(folder / METRICS) as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in kept).encode())


def share_of(id: str, seed: int) -> float:
    """A number from 0 to 1 that depends on a record's id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {id}".encode()).digest()[:6], "big") / 2**48
