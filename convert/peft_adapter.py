"""An adapter as PEFT saves it: a folder with adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt, ModelMissing, UsageError

from .adapter import Backbone, target_of, write_adapter
from .checkpoint import read_json
from .output import Source, Written, partial, provenance, sha256_of, told_numbers
from .safetensors import read_header, shown
from .vet import vet_gguf

Array = npt.NDArray[np.float32]
# Letters, dots and choices: a repetition in an expression from a downloaded file may take for ever.
_SIMPLE = re.compile(r"[\w.^$|\\()]{1,200}")
_PART = re.compile(r"\.lora_[AB]\.weight$")
# Ways to begin that put a part of the base into the adapter and leave a changed base behind (PEFT, LoraConfig).
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """A LoRA: tensors by PEFT's names, scaled so that one `alpha` is right for all of them; `invocation` token ids."""

    name: str
    files: tuple[Path, ...]
    tensors: Mapping[str, Array]
    alpha: float
    invocation: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> PeftAdapter:
        """Read a folder.

        Raises:
            UsageError: it is an adapter that a GGUF cannot hold.
            ModelCorrupt, ModelMissing: its files cannot be right, or are not there.
        """
        try:
            return cls._read(folder, read_json(folder / "adapter_config.json"))
        except (ValueError, TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
            raise ModelCorrupt(
                f"{folder.name} cannot be right: {shown(str(error))}.", "Fetch or copy it again."
            ) from None

    @classmethod
    def _read(cls, folder: Path, config: Mapping[str, Any]) -> PeftAdapter:
        weights = folder / "adapter_model.safetensors"
        if not weights.is_file():
            if (folder / "adapter_model.bin").is_file():
                raise UsageError(f"{folder} holds its weights as a pickle.", "Save the adapter as safetensors.")
            raise ModelMissing(f"There is no adapter_model.safetensors in {folder}.")
        _refuse(folder, config)
        stored = {tensor.name: tensor for tensor in read_header(weights)}
        for name, tensor in stored.items():
            if not _PART.search(name) or not tensor.is_float or len(tensor.shape) != 2:
                raise UsageError(
                    f"{folder} changes {shown(name)}, which no GGUF adapter can.",
                    "Train it without resized embeddings, modules_to_save and biases, or merge it in PEFT.",
                )
        alpha = _number(config, "lora_alpha")
        tensors = {name: tensor.read() for name, tensor in stored.items()}
        if not tensors:
            raise ModelCorrupt(f"{weights.name} holds no tensors.")
        _check_pairs(tensors)
        for name in [name for name in tensors if ".lora_B." in name]:
            rank = tensors[name].shape[1]
            tensors[name] = tensors[name] * np.float32(_scale(config, name, rank) / (alpha / rank))
        invocation = tuple(config.get("alora_invocation_tokens") or ())
        if not all(type(token) is int and token >= 0 for token in invocation):
            raise ModelCorrupt("adapter_config.json has invocation tokens that are no token ids.")
        return cls(folder.name, (folder / "adapter_config.json", weights), tensors, alpha, invocation)

    def warnings(self, most: float) -> list[str]:
        """What is wrong with its numbers, of which the largest that is written is `most`."""
        largest = {name: float(np.abs(array).max(initial=0)) for name, array in self.tensors.items()}
        strange = [name for name, number in largest.items() if not math.isfinite(number)]
        large = [name for name, number in largest.items() if most < number < math.inf]
        return told_numbers(strange, large)

    def check_base(self, base: Path) -> Backbone:
        """What the adapter needs to know of `base`.

        Raises:
            UsageError: the adapter belongs to another model.
        """
        backbone = Backbone.of(base)
        shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in gguf.GGUFReader(base).tensors}
        for name, array in self.tensors.items():
            target = target_of(name, backbone)
            shape = shapes.get(target or "")
            inside = array.shape[1] if ".lora_A." in name else array.shape[0]
            if shape is None or shape[0 if ".lora_A." in name else 1] != inside:
                raise UsageError(
                    f"{self.name} is an adapter of another base: {base.name} has no place for {shown(name)}.",
                    "Give the model that it was trained on with --base.",
                )
        return backbone


def convert_adapter(folder: Path, base: Path, out: Path, quant: str, source: Source) -> Written:
    """Write the adapter in `folder` as a GGUF for `base`; `quant` is f16 or f32.

    Raises:
        UmiError: it cannot be converted, or `out` cannot be written. No file is left behind then.
    """
    if quant not in ("f16", "f32"):
        raise UsageError(f"An adapter is written as f16 or f32, not as {quant}.")
    adapter = PeftAdapter.open(folder)
    backbone = adapter.check_base(base)
    also = provenance(source, sha256_of(list(adapter.files)))
    kind = np.float16 if quant == "f16" else np.float32
    with partial(out) as path:
        write_adapter(path, adapter.tensors, adapter.alpha, backbone, adapter.invocation, adapter.name, kind, also)
        vet_gguf(path)
        size = path.stat().st_size
    return Written(out, len(adapter.tensors), size, adapter.warnings(float(np.finfo(kind).max)))


def _refuse(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise UsageError(f"{folder} is an adapter of the kind {shown(str(config.get('peft_type')))}.", "Known is LORA.")
    for key, what in (
        ("use_dora", "uses DoRA, whose magnitudes no GGUF adapter holds"),
        ("modules_to_save", "saves whole modules (modules_to_save), which no GGUF adapter holds"),
        ("trainable_token_indices", "trains tokens of its own, which no GGUF adapter holds"),
        ("target_parameters", "changes parameters that are no linear layers, which no GGUF adapter holds"),
        ("lora_bias", "has biases, which no GGUF adapter holds"),
        ("fan_in_fan_out", "is of a model with transposed layers, which is not known here"),
    ):
        if config.get(key):
            raise UsageError(f"{folder} {what}.", "Merge it into its base with PEFT and convert the result.")
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_CHANGES_BASE):
        raise UsageError(
            f"{folder} was begun with {shown(start)}, which changes the base's own weights.",
            "Save it with PEFT's path_initial_model_for_weight_conversion, or merge it there.",
        )
    if config.get("bias", "none") != "none":
        raise UsageError(f"{folder} has biases, which no GGUF adapter holds.", "Train it with bias='none'.")


def _check_pairs(tensors: Mapping[str, Array]) -> None:
    """Each lora_A has a lora_B of its rank, and each lora_B a lora_A."""
    for name in tensors:
        down, up = (tensors.get(_PART.sub(f".lora_{one}.weight", name)) for one in "AB")
        if down is None or up is None or down.shape[0] != up.shape[1]:
            other = "lora_B" if ".lora_A." in name else "lora_A"
            raise ModelCorrupt(f"{shown(name)} has no matching {other}.", "Fetch or copy the adapter again.")


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """What PEFT multiplies the product B A with: alpha by rank, or by its root (rsLoRA), with a module's own alpha."""
    module = name.removeprefix("base_model.model.").partition(".lora_")[0]
    alpha = _number(config, "lora_alpha")
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        # PEFT takes a key as a module's path or its end.
        if module == pattern or module.endswith(f".{pattern}") or _matches(pattern, module):
            alpha = float(own)
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _matches(pattern: str, module: str) -> bool:
    if not _SIMPLE.fullmatch(pattern):
        raise UsageError(f"The adapter's alpha_pattern has the expression {shown(pattern)}, which is not tried here.")
    try:
        return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None
    except re.error:
        return False


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value == 0:
        raise ModelCorrupt(f"adapter_config.json has {key} = {shown(str(value))}, which is no number to scale with.")
    return float(value)
