"""The process that computes an importance matrix: MODEL TEXT OUT. Tokens read, and all, go to stdout, a line a chunk.

llama.cpp shows each node of its graph to a callback before and after it is computed. Of those that multiply a weight
of the file the inputs are squared and summed up by column.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from umi_local.backends.llama_cpp.imatrix import write_imatrix
from umi_local.backends.llama_cpp.raw import OpenModel

_CHUNK = 512  # tokens
_F32, _I32 = 0, 26  # of ggml_type


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h. (llama-cpp-python has no binding for it.)"""


_Pointer = ctypes.POINTER(_Tensor)
_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", _Pointer * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


class Collector:
    """Sums of squares, (experts, columns), and tokens, (experts,), by weight."""

    def __init__(self) -> None:
        self.sums: dict[str, npt.NDArray[np.float32]] = {}
        self.counts: dict[str, npt.NDArray[np.float32]] = {}

    def __call__(self, pointer: int, ask: bool, _: Any) -> bool:
        """What llama.cpp calls: whether the node is of interest, and then, computed, the node."""
        node = ctypes.cast(pointer, _Pointer).contents
        if not node.src[0] or not node.src[1]:
            return not ask
        weight, inputs = node.src[0].contents, node.src[1].contents
        name = weight.name.decode(errors="replace")
        if not name.endswith(".weight") or inputs.type != _F32 or weight.ne[0] != inputs.ne[0]:
            return not ask
        if not ask:
            self._add(name, weight.ne[2], inputs, node.src[2].contents if node.src[2] else None)
        return True

    def _add(self, name: str, experts: int, inputs: _Tensor, chosen: _Tensor | None) -> None:
        squares = _array(inputs, np.float32) ** 2  # (1, tokens, used experts or 1, columns), or (1, 1, tokens, columns)
        width = squares.shape[-1]
        sums = self.sums.setdefault(name, np.zeros((experts, width), np.float32))
        counts = self.counts.setdefault(name, np.zeros(experts, np.float32))
        if chosen is None or chosen.type != _I32:
            flat = squares.reshape(-1, width)
            sums[0] += flat.sum(axis=0)
            counts[0] += len(flat)
            return
        ids = _array(chosen, np.int32)[0, 0]  # (tokens, used experts)
        rows = np.broadcast_to(squares[0], (*ids.shape, width))
        for expert in np.unique(ids):
            hit = rows[ids == expert]
            sums[expert] += hit.sum(axis=0)
            counts[expert] += len(hit)


def _array(tensor: _Tensor, kind: type[np.generic]) -> npt.NDArray[Any]:
    """A tensor in the machine's own memory as an array, outermost dimension first."""
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) + np.dtype(kind).itemsize
    memory = (ctypes.c_char * reach).from_address(tensor.data)
    return np.ndarray(shape, kind, memory, strides=strides)


def main(model: str, text: str, out: str) -> int:
    collector = Collector()
    with OpenModel(Path(model), _CHUNK, watch=collector) as opened:
        tokens = opened.tokens(Path(text).read_text(encoding="utf-8", errors="replace"))
        chunks = [tokens[start : start + _CHUNK] for start in range(0, len(tokens), _CHUNK)]
        chunks = [chunk for chunk in chunks if len(chunk) > 1]
        if not chunks:
            print(f"{Path(text).name} has no text", file=sys.stderr)
            return 1
        for number, chunk in enumerate(chunks, 1):
            # All outputs: llama.cpp computes the last layer for those tokens alone whose logits are asked for.
            opened.read(chunk, [True] * len(chunk))
            print(min(number * _CHUNK, len(tokens)), len(tokens), flush=True)
    write_imatrix(Path(out), collector.sums, collector.counts, Path(text).name, len(chunks), _CHUNK)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
