"""A LoRA adapter as a GGUF that llama.cpp loads beside its backbone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt, UsageError

from .architectures import ARCHITECTURES
from .hyperparameters import MAX_LAYERS
from .output import add_texts
from .vet import vet_gguf
from .weights import paired, text_name

Array = npt.NDArray[np.float32]

_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
_KNOWN = {entry.gguf for entry in ARCHITECTURES.values()}
# What llama.cpp computes with rotary pairs side by side was stored with the two halves of a head apart.
_HALVES_APART = {entry.gguf for entry in ARCHITECTURES.values() if entry.pairs_side_by_side}


@dataclass(frozen=True, slots=True)
class Backbone:
    """What an adapter needs to know of the file that it goes with."""

    architecture: str
    layers: int
    heads: int
    key_heads: int

    @classmethod
    def of(cls, path: Path) -> Backbone:
        """Read from a GGUF's checked header."""
        header = vet_gguf(path)

        def number(key: str) -> int:
            return int(header.metadata.get(f"{header.architecture}.{key}", 0))

        heads = number("attention.head_count")
        layers = number("block_count")
        if header.architecture not in _KNOWN or not 0 < layers <= MAX_LAYERS:
            raise UsageError(
                f"{path.name} has the architecture {header.architecture[:40]!r}, whose adapters are not known here.",
                f"Known are: {', '.join(sorted(_KNOWN))}.",
            )
        return cls(header.architecture, layers, heads, number("attention.head_count_kv") or heads)


def write_adapter(
    path: Path,
    tensors: Mapping[str, Any],
    alpha: float,
    backbone: Backbone,
    invocation: Sequence[int],
    name: str,
    kind: type[np.floating[Any]] = np.float16,
    also: Mapping[str, str | Sequence[str]] | None = None,
) -> None:
    """Write PEFT's tensors (lora_A (rank, in), lora_B (out, rank)); `invocation` makes it an activated one.

    `also` is further metadata: texts and lists of texts.

    Raises:
        ModelCorrupt: a tensor is none of a LoRA, or of a module that the architecture does not have.
    """
    names = _names(backbone)
    writer = gguf.GGUFWriter(path, backbone.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(alpha))
    if invocation:
        kinds = gguf.GGUFValueType
        tokens = [int(token) for token in invocation]
        writer.add_key_value("adapter.alora.invocation_tokens", tokens, kinds.ARRAY, kinds.UINT32)
    add_texts(writer, also or {})
    for key in sorted(tensors):
        found = _KEY.match(key)
        mapped = _mapped(key, names)
        if found is None or mapped is None:
            raise ModelCorrupt(f"{key} is no tensor of a LoRA for {backbone.architecture}.")
        array = np.asarray(tensors[key], dtype=np.float32)
        if found["part"] == "B":
            array = arranged(array, mapped, backbone)
        with np.errstate(over="ignore"):
            writer.add_tensor(f"{mapped}.lora_{found['part'].lower()}", array.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def target_of(key: str, backbone: Backbone) -> str | None:
    """The GGUF's name of the weight that one of PEFT's tensors changes; None if there is none."""
    mapped = _mapped(key, _names(backbone))
    return f"{mapped}.weight" if mapped and not mapped.endswith(".weight") else mapped


def read_adapter(path: Path, keys: Iterable[str], backbone: Backbone) -> dict[str, Array]:
    """The tensors that `write_adapter` wrote, by PEFT's `keys`, in float32.

    Raises:
        ModelCorrupt: the file is no sound GGUF, or lacks one of them.
    """
    vet_gguf(path)
    held = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    names, tensors = _names(backbone), {}
    for key in keys:
        found, mapped = _KEY.match(key), _mapped(key, names)
        name = f"{mapped}.lora_{found['part'].lower()}" if found else key
        if found is None or name not in held:
            raise ModelCorrupt(f"{path.name} has no tensor {name}.", "It was trained with another recipe.")
        array = np.array(held[name], dtype=np.float32)
        tensors[key] = _arranged_back(array, str(mapped), backbone) if found["part"] == "B" else array
    return tensors


def _mapped(key: str, names: gguf.TensorNameMap) -> str | None:
    """The GGUF's name of what one of PEFT's tensors changes."""
    found = _KEY.match(key)
    module = text_name(f"{found['module']}.weight") if found else ""
    return names.get_name(module, try_suffixes=(".weight",))


def _names(backbone: Backbone) -> gguf.TensorNameMap:
    known = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    if backbone.architecture not in known:
        raise ModelCorrupt(f"The architecture {backbone.architecture!r} is not known.")
    return gguf.get_tensor_name_map(known[backbone.architecture], backbone.layers)


def arranged(array: Array, name: str, backbone: Backbone) -> Array:
    """The rows of a query or key projection in llama.cpp's order."""
    heads = _paired_heads(name, backbone)
    return paired(array, heads) if heads else array


def _paired_heads(name: str, backbone: Backbone) -> int:
    """The heads of a tensor whose rows llama.cpp has in another order; 0 if it has the same."""
    if backbone.architecture not in _HALVES_APART:
        return 0
    return backbone.heads if ".attn_q." in name else backbone.key_heads if ".attn_k." in name else 0


def _arranged_back(array: Array, name: str, backbone: Backbone) -> Array:
    """What `arranged` did, undone."""
    heads = _paired_heads(name, backbone)
    if not heads:
        return array
    rows, width = array.shape
    pairs = array.reshape(heads, rows // heads // 2, 2, width)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, width))
