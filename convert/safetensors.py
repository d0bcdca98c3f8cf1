"""Safetensors files, read with nothing trusted: the header is checked before any of the data is touched.

Source of the format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt, ModelMissing, StorageError

# A header has about 120 bytes a tensor. The format allows 100 MB, of which Python could make 2 GB of objects.
MAX_HEADER_BYTES = 16_000_000
MAX_TENSORS = 65_536
MAX_DIMENSIONS = 8

# Storage types by the format's names. bfloat16 has no NumPy type; its bits are the upper half of a float32's.
_TYPES: Mapping[str, npt.DTypeLike] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_OTHER_BYTES = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
                "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `start` is its first byte in `file`; `shape` counts elements, outermost first."""

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    bytes: int

    @property
    def is_float(self) -> bool:
        return self.kind in _TYPES

    @property
    def width(self) -> int:
        """The length of the last dimension, which is contiguous; 1 for a scalar."""
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        """How many rows of that width there are, over all other dimensions."""
        return math.prod(self.shape[:-1])

    def read(self, first: int = 0, count: int | None = None) -> npt.NDArray[np.float32]:
        """`count` rows from `first` on in float32, (count, width).

        Raises:
            StorageError: the file cannot be read, or became shorter.
        """
        return widened(self.raw(first, count), self.kind)

    def raw(self, first: int = 0, count: int | None = None) -> npt.NDArray[Any]:
        """The same rows as they are stored; bfloat16 as 16-bit words."""
        count = self.rows - first if count is None else count
        form = np.dtype(_TYPES[self.kind])
        try:
            with self.file.open("rb") as file:
                file.seek(self.start + first * self.width * form.itemsize)
                found = np.fromfile(file, form, count * self.width)
        except OSError as error:
            raise StorageError(f"{self.file} cannot be read: {error.strerror}.") from error
        if found.size != count * self.width:
            raise StorageError(f"{self.file.name} became shorter while it was read.", "Fetch or copy it again.")
        return found.reshape(count, self.width)


def widened(raw: npt.NDArray[Any], kind: str) -> npt.NDArray[np.float32]:
    """Stored elements in float32."""
    if kind == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32, copy=False)


def read_header(path: Path) -> list[StoredTensor]:
    """Every tensor of a file, in the order of its data.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: a count, size, type or place in it cannot be right.
        StorageError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise _bad(path, _not_safetensors(start, size))
            text = file.read(length)
    except FileNotFoundError:
        raise ModelMissing(f"There is no file {path}.") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    tensors = [_tensor(path, name, entry, 8 + length) for name, entry in _entries(path, text)]
    return _checked(path, tensors, size, 8 + length)


def _not_safetensors(start: bytes, size: int) -> str:
    if start[:2] in (b"PK", b"\x80\x02"):
        return "is a pickle of PyTorch and not safetensors, and pickles are never opened here"
    return "is cut short" if size < 10 else "is no safetensors file: its header's length is impossible"


def _entries(path: Path, text: bytes) -> list[tuple[str, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _bad(path, "holds a tensor twice")
        return found

    try:
        header = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise _bad(path, "has a header that is not JSON") from None
    if not isinstance(header, dict):
        raise _bad(path, "has a header that is not a JSON object")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _bad(path, f"claims {len(header):,} tensors, more than any real model has")
    return list(header.items())


def _tensor(path: Path, name: str, entry: Any, data: int) -> StoredTensor:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise _bad(path, f"describes the tensor {shown(name)} in no known way")
    if kind not in _TYPES and kind not in _OTHER_BYTES:
        raise _bad(path, f"gives {shown(name)} the unknown type {shown(kind)}")
    lengths = [length for length in shape if type(length) is int and 0 <= length < 1 << 40]
    if len(lengths) != len(shape) or len(shape) > MAX_DIMENSIONS:
        raise _bad(path, f"gives {shown(name)} an impossible shape")
    width = np.dtype(_TYPES[kind]).itemsize if kind in _TYPES else _OTHER_BYTES[kind]
    if end - begin != math.prod(lengths) * width or begin < 0:
        raise _bad(path, f"gives {shown(name)} {end - begin:,} bytes, which its shape and type do not have")
    return StoredTensor(name, path, kind, tuple(lengths), data + begin, end - begin)


def _checked(path: Path, tensors: list[StoredTensor], size: int, data: int) -> list[StoredTensor]:
    """The tensors by place, none of them over another or beyond the end."""
    free = data
    tensors.sort(key=lambda tensor: (tensor.start, tensor.bytes))
    for tensor in tensors:
        if tensor.start < free:
            raise _bad(path, f"lays {shown(tensor.name)} over another tensor")
        free = tensor.start + tensor.bytes
    if free > size:
        raise _bad(path, f"is cut short: {free - size:,} of its {free:,} bytes are missing")
    return tensors


def _bad(path: Path, what: str) -> ModelCorrupt:
    return ModelCorrupt(f"{path.name} {what}.", "Fetch or copy the checkpoint again.")


def shown(name: str) -> str:
    """A name for a message: quoted and clipped, so that nothing in it reaches a terminal as a control character."""
    return ascii(name if len(name) <= 64 else name[:61] + "...")
