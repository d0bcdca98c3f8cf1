"""The mean of adapters that were trained from one another: often better than each at what the other unlearnt.

Source: model soups (Wortsman et al., 2022, arXiv 2203.05482). The two matrices of a LoRA are averaged apart, which is
near the mean of their products as long as the adapters are near each other.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

from umi_local.convert.output import partial
from umi_local.convert.vet import vet_gguf
from umi_local.errors import UsageError

_NUMBERS = (gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32)


def average(adapters: Sequence[Path], out: Path) -> None:
    """Write the mean of the adapters' tensors, with the metadata of the first.

    Raises:
        UsageError: there are fewer than two, they are not of one shape and one invocation, or `out` is there already.
        ModelCorrupt: one of them is no sound GGUF.
    """
    if len(adapters) < 2:
        raise UsageError("A mean wants at least two adapters.", "Name another one.")
    for path in adapters:
        vet_gguf(path)
    readers = [gguf.GGUFReader(path) for path in adapters]
    if any(tensor.tensor_type not in _NUMBERS for reader in readers for tensor in reader.tensors):
        raise UsageError("Only adapters in float16 or float32 can be averaged.", "Export them again.")
    shapes = [_shape(reader) for reader in readers]
    for path, shape in zip(adapters, shapes, strict=True):
        if shape != shapes[0]:
            raise UsageError(
                f"{path} and {adapters[0]} are not adapters of one role and one shape.",
                "Name the same role's adapters of two runs with one recipe.",
            )
    tensors = [{tensor.name: tensor.data for tensor in reader.tensors} for reader in readers]
    with partial(out) as path:
        shutil.copyfile(adapters[0], path)
        for target in gguf.GGUFReader(path, "r+").tensors:
            mean = np.mean([held[target.name].astype(np.float32) for held in tensors], axis=0)
            target.data[:] = mean.astype(target.data.dtype)


def _shape(reader: gguf.GGUFReader) -> object:
    """What must be the same for a mean to make sense: tensors, types, scale and the tokens that switch it on."""
    keys = ("general.architecture", gguf.Keys.Adapter.LORA_ALPHA, "adapter.alora.invocation_tokens")
    fields = [field.contents() if (field := reader.get_field(key)) else None for key in keys]
    return fields, [(tensor.name, tensor.tensor_type, tensor.shape.tolist()) for tensor in reader.tensors]
