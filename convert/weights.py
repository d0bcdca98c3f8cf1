"""Which tensors a GGUF gets, and their data in blocks: a model of any size passes through in little memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt

from .architectures import Architecture
from .checkpoint import Checkpoint
from .encoding import Encoded, Kind, encoded
from .hyperparameters import Hyperparameters
from .safetensors import StoredTensor, shown

# What `--quant` can write at once, and the number that llama.cpp gives a file of it.
WRITTEN = {
    "f32": (Kind.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (Kind.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
# Of float32 at a time. What is this small is taken from memory that was used before; larger blocks cost a third more.
BLOCK_BYTES = 4 << 20

_EXPERT = re.compile(r"(.*layers\.(\d+))\.(?:block_sparse_moe|mlp)\.experts\.(\d+)\.(w1|w2|w3|\w+_proj)\.weight")
_FUSED = re.compile(r"(.*layers\.\d+\.mlp\.experts)\.(gate_up_proj|down_proj)(?:\.weight)?")
_MIXTRAL = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
_UNUSED = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
_NOT_TEXT = re.compile(r"(^|\.)(vision_tower|vision_model|visual|multi_modal_projector|audio_tower)\.")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a stored tensor, as they are or changed. `pairs_of`: heads whose rows change places."""

    tensor: StoredTensor
    first: int
    count: int
    plus: float = 0.0
    pairs_of: int = 0

    @classmethod
    def whole(cls, tensor: StoredTensor, plus: float = 0.0, pairs_of: int = 0) -> Part:
        return cls(tensor, 0, tensor.rows, plus, pairs_of)

    def spans(self) -> Iterator[tuple[int, int]]:
        """The first row and the count of each block; whole heads where rows change places within them."""
        head = max(1, self.count // self.pairs_of) if self.pairs_of else 1
        step = max(1, BLOCK_BYTES // (4 * self.tensor.width) // head) * head
        for first in range(self.first, self.first + self.count, step):
            yield first, min(step, self.first + self.count - first)

    def encoded(self, first: int, count: int, kind: Kind) -> Encoded:
        """One of the `spans`, read, brought into order and encoded as `kind`."""
        block = self.tensor.raw(first, count)
        if self.pairs_of:
            block = paired(block, self.pairs_of * count // self.count)
        return encoded(block, self.tensor.kind, self.plus, kind)


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor of the GGUF: its shape is that of NumPy, outermost first."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        block, size = gguf.GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // block * size


def kind_of(name: str, shape: Sequence[int], wanted: Kind) -> Kind:
    """The type of a tensor of a file in the type `wanted`: vectors, norms and routers stay in float32, and rows that
    are no whole blocks in float16."""
    if len(shape) == 1 or name.endswith(("_norm.weight", "ffn_gate_inp.weight")):
        return Kind.F32
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return Kind.F16 if shape[-1] % block else wanted


def paired(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """The rows of a query or key projection, with the two halves of each head interleaved; a bias is one row."""
    count, width = rows.shape if len(rows) > 1 else (rows.size, 1)
    halves = rows.reshape(heads, 2, count // heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def text_name(name: str) -> str:
    """A tensor's name in a text model, where it is that of the text's part of a model of text and pictures."""
    name = name.replace("language_model.model.", "model.").replace("model.language_model.", "model.")
    return name.replace("language_model.lm_head", "lm_head")


def planned(checkpoint: Checkpoint, architecture: Architecture, kind: Kind) -> list[Planned]:
    """Every tensor of the GGUF, but for those made of hyperparameters.

    Raises:
        ModelCorrupt: the checkpoint has a tensor that the architecture has not, or lacks one.
    """
    known = Hyperparameters(checkpoint.config, architecture)
    return _Planner(checkpoint, architecture, known, kind).plan()


class _Planner:
    def __init__(self, checkpoint: Checkpoint, entry: Architecture, known: Hyperparameters, kind: Kind) -> None:
        self.checkpoint, self.entry, self.known, self.kind = checkpoint, entry, known, kind
        number = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[entry.gguf]
        self.names = gguf.get_tensor_name_map(number, known.layers)
        self.found: list[Planned] = []
        self.experts: dict[str, dict[int, StoredTensor]] = {}

    def plan(self) -> list[Planned]:
        for stored, tensor in self.checkpoint.tensors.items():
            name = text_name(stored)
            dropped = self.entry.drop_output and name == "lm_head.weight"
            if dropped or name.endswith(_UNUSED) or _NOT_TEXT.search(name):
                continue
            if not tensor.is_float:
                raise ModelCorrupt(f"The tensor {shown(stored)} is of type {tensor.kind}, which is no weight's.")
            self._add(name, tensor)
        self._stack_experts()
        self._check()
        return self.found

    def _add(self, name: str, tensor: StoredTensor) -> None:
        if expert := _EXPERT.fullmatch(name):
            way = _MIXTRAL.get(expert[4], expert[4])
            self.experts.setdefault(f"{expert[1]}.mlp.experts.{way}", {})[int(expert[3])] = tensor
        elif fused := _FUSED.fullmatch(name):
            self._add_fused(fused[1], fused[2], tensor)
        else:
            plus = 1.0 if self.entry.norm_plus_one and name.endswith("norm.weight") else 0.0
            self._put(self._mapped(name), tensor.shape, (Part.whole(tensor, plus, self._pairs(name)),))

    def _pairs(self, name: str) -> int:
        if not self.entry.pairs_side_by_side:
            return 0
        if name.endswith(("q_proj.weight", "q_proj.bias")):
            return self.known.heads
        return self.known.key_heads if name.endswith(("k_proj.weight", "k_proj.bias")) else 0

    def _add_fused(self, place: str, which: str, tensor: StoredTensor) -> None:
        """All experts in one tensor, (experts, rows, width); gate and up lie one behind the other."""
        if len(tensor.shape) != 3 or (which == "gate_up_proj" and tensor.shape[1] % 2):
            raise ModelCorrupt(f"The tensor {shown(tensor.name)} has a shape that no experts have.")
        experts, rows, width = tensor.shape
        if which == "down_proj":
            return self._put(self._mapped(f"{place}.down_proj.weight"), tensor.shape, (Part.whole(tensor),))
        half = rows // 2
        for at, way in enumerate(("gate_proj", "up_proj")):
            parts = tuple(Part(tensor, expert * rows + at * half, half) for expert in range(experts))
            self._put(self._mapped(f"{place}.{way}.weight"), (experts, half, width), parts)
        return None

    def _stack_experts(self) -> None:
        for place, held in self.experts.items():
            count = self.known.whole("num_local_experts", "num_experts")
            shapes = {tensor.shape for tensor in held.values()}
            if sorted(held) != list(range(count)) or len(shapes) != 1:
                raise ModelCorrupt(f"{shown(place)} has not the {count} equal experts that config.json promises.")
            parts = tuple(Part.whole(held[expert]) for expert in range(count))
            self._put(self._mapped(f"{place}.weight"), (count, *shapes.pop()), parts)

    def _mapped(self, name: str) -> str:
        mapped = self.names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise ModelCorrupt(f"The tensor {shown(name)} is none that llama.cpp's {self.entry.gguf} has.")
        return mapped

    def _put(self, name: str, shape: Sequence[int], parts: tuple[Part, ...]) -> None:
        if not all(shape) or any(shape[0] % (2 * part.pairs_of) for part in parts if part.pairs_of):
            raise ModelCorrupt(f"The tensor {shown(name)} has the impossible shape {tuple(shape)}.")
        if any(tensor.name == name for tensor in self.found):
            raise ModelCorrupt(f"Two tensors of the checkpoint are {shown(name)}.")
        self.found.append(Planned(name, tuple(shape), kind_of(name, shape, self.kind), parts))

    def _check(self) -> None:
        """All layers are there and have the same tensors; the embedding has a row for each token."""
        layers: dict[int, set[str]] = {layer: set() for layer in range(self.known.layers)}
        for tensor in self.found:
            if match := re.fullmatch(r"blk\.(\d+)\.(.*)", tensor.name):
                layers.setdefault(int(match[1]), set()).add(match[2])
        every = set().union(*layers.values())
        for layer, held in layers.items():
            if len(held) < len(every):
                lacking = sorted(every - held)[0]
                raise ModelCorrupt(f"Layer {layer} lacks {lacking}, so a part of the checkpoint is missing.")
        shapes: Mapping[str, tuple[int, ...]] = {tensor.name: tensor.shape for tensor in self.found}
        wanted = (self.known.whole("vocab_size"), self.known.whole("hidden_size"))
        if shapes.get("token_embd.weight") != wanted:
            raise ModelCorrupt(f"The token embedding is {shapes.get('token_embd.weight')} and not {wanted}.")
        if "output_norm.weight" not in shapes:
            raise ModelCorrupt("The last norm is missing, so a part of the checkpoint is missing.")
        apart = self.known.config.get("tie_word_embeddings") is False and not self.entry.drop_output
        if apart and "output.weight" not in shapes:
            raise ModelCorrupt("The output layer (lm_head) is missing, so a part of the checkpoint is missing.")
