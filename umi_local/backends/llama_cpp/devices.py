"""What the installed llama.cpp can compute on, and how much of a model fits there.

The package does not bind ggml's device functions, so they are called by their C names (ggml-backend.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
_RESERVED = 600_000_000  # bytes of a device that buffers for computing and other programs take


@dataclass(frozen=True, slots=True)
class Device:
    """A device of ggml's. Bytes of memory, 0 where it does not tell."""

    name: str
    description: str
    is_gpu: bool
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Size:
    """What a model takes: `layers` with the output layer, bytes of all tensors, and of one layer's cache."""

    layers: int
    tensor_bytes: int
    cache_bytes_per_layer: int


def devices() -> list[Device]:
    """Every device that the installed build knows; the processor is one of them."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    registry, base = _library(folder, "libggml"), _library(folder, "libggml-base")
    if registry is None or base is None:
        return []
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    return [_device(base, registry.ggml_backend_dev_get(i)) for i in range(registry.ggml_backend_dev_count())]


def layers_that_fit(size: Size, found: Sequence[Device]) -> int:
    """How many layers the GPUs' free memory holds, with their share of the cache; 0 without a GPU."""
    free = sum(max(0, device.free - _RESERVED) for device in found if device.is_gpu)
    per_layer = size.tensor_bytes / size.layers + size.cache_bytes_per_layer
    return max(0, min(size.layers, int(free / per_layer)))


def _device(base: ctypes.CDLL, handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    for name in ("ggml_backend_dev_name", "ggml_backend_dev_description"):
        getattr(base, name).restype = ctypes.c_char_p
        getattr(base, name).argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    base.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(
        base.ggml_backend_dev_name(handle).decode(errors="replace"),
        base.ggml_backend_dev_description(handle).decode(errors="replace"),
        base.ggml_backend_dev_type(handle) in _GPU_TYPES,
        free.value,
        total.value,
    )


def _library(folder: Path, name: str) -> ctypes.CDLL | None:
    """One of the libraries that came with llama.cpp; it is loaded already, so this only finds it again."""
    stems = (name, name.removeprefix("lib"))
    for path in sorted(folder.glob("*ggml*")):
        if path.name.split(".")[0] in stems and path.suffix in (".so", ".dylib", ".dll"):
            return ctypes.CDLL(str(path))
    return None
