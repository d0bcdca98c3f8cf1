"""An importance matrix: how large the inputs of each weight are on a text. Quantising then spares what matters.

The file is llama.cpp's own (`tools/imatrix` in its sources): a GGUF with each input column's sum of squares and the
number of tokens it was summed over, so that files made elsewhere can be used here and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.backends.llama_cpp.worker import lines_of
from umi_local.convert.vet import vet_gguf
from umi_local.errors import ModelCorrupt

Array = npt.NDArray[np.float32]
_SUMS, _COUNTS = ".in_sum2", ".counts"


def compute(model: Path, text: Path, out: Path, progress: Callable[[int, int], None]) -> None:
    """Run `model` over a text file and write the matrix to `out`; `progress` is told the tokens read and all.

    Raises:
        ModelFailed: llama.cpp could not.
        OutOfMemory: it was killed for the memory it took.
    """
    what = f"The importance matrix of {model.name} could not be computed"
    for line in lines_of(what, "imatrix_child", model, text, out):
        done, total = map(int, line.split())
        progress(done, total)


def read_imatrix(path: Path) -> dict[str, Array]:
    """The mean square of each input column by tensor name; (experts x columns) in one row for mixtures.

    Raises:
        ModelCorrupt: it is no such file.
    """
    if vet_gguf(path).metadata.get("general.type") != "imatrix":
        raise ModelCorrupt(
            f"{path.name} is no importance matrix.", "Give a text file, or what llama.cpp's imatrix wrote."
        )
    held = {tensor.name: np.array(tensor.data, dtype=np.float32) for tensor in gguf.GGUFReader(path).tensors}
    found = {}
    for key, sums in held.items():
        if key.endswith(_SUMS):
            name = key.removesuffix(_SUMS)
            counts = held.get(name + _COUNTS)
            if counts is None:
                raise ModelCorrupt(f"{path.name} has no counts for {name[:80]!r}.")
            if not counts.size or sums.size % counts.size:
                raise ModelCorrupt(f"The sums and counts of {name[:80]!r} in {path.name} do not fit each other.")
            per = sums.reshape(counts.size, -1)
            # An expert that no token came to is as important as any.
            mean = np.where(counts.reshape(-1, 1) > 0, per / np.maximum(counts.reshape(-1, 1), 1), 1.0)
            found[name] = np.ascontiguousarray(mean.reshape(-1), dtype=np.float32)
    return found


def write_imatrix(
    path: Path, sums: Mapping[str, Array], counts: Mapping[str, Array], dataset: str, chunks: int, size: int
) -> None:
    """Write sums, (experts, columns), and counts, (experts,), by tensor name."""
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].pop("general.architecture", None)
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", size)
    for name in sums:
        writer.add_tensor(name + _SUMS, np.ascontiguousarray(sums[name], dtype=np.float32))
        writer.add_tensor(name + _COUNTS, np.ascontiguousarray(counts[name], dtype=np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
