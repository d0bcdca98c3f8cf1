"""What a stage leaves on disk: checkpoints that a kill cannot break, metrics, and finished adapters in PEFT's form."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from umi_local.errors import ModelCorrupt, StorageError, UsageError

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """A stage after `step` optimizer steps and `seconds` of work, on the samples of this digest.

    `finished` if it came to its end, by its data or by its clock.
    """

    samples: str
    step: int
    seconds: float
    adapters: Mapping[str, Mapping[str, torch.Tensor]]
    optimizer: dict[str, Any]
    finished: bool = False


def save(folder: Path, state: State) -> None:
    """Replace the last checkpoint in one move.

    Raises:
        StorageError: there is no room; the checkpoint before it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{CHECKPOINT}.part"
    try:
        with part.open("wb") as file:
            torch.save({field: getattr(state, field) for field in State.__dataclass_fields__}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / CHECKPOINT)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "there is no room for it"  # PyTorch tells an offset
        raise StorageError(
            f"The checkpoint in {folder} cannot be written: {reason}.",
            "Make room and run the same command again; it goes on from the last checkpoint.",
        ) from None


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
    """A finished adapter in PEFT's own form, in `folder`."""
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
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / METRICS).open("a", encoding="utf-8") as file:
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
    """Steps behind the checkpoint are done again, so what was noted of them goes."""
    kept = [entry for entry in metrics_of(folder) if entry["step"] <= after]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{METRICS}.part"
    part.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
    part.replace(folder / METRICS)


def share_of(id: str, seed: int) -> float:
    """A number from 0 to 1 that depends on a record's id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {id}".encode()).digest()[:6], "big") / 2**48
