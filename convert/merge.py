"""An adapter folded into its base: one GGUF that needs no adapter any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import UsageError

from .adapter import arranged, target_of
from .encoding import Encoded, encoded
from .output import Numbers, Source, Written, add_texts, partial, provenance, sha256_of
from .peft_adapter import PeftAdapter
from .vet import vet_gguf
from .weights import BLOCK_BYTES, WRITTEN, kind_of

Delta = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_OURS = "umi_local.convert."


def merge(
    folder: Path,
    base: Path,
    out: Path,
    quant: str,
    source: Source,
    progress: Callable[[int, int], None],
    made_of: Sequence[Path] = (),
) -> Written:
    """Write `base` with the adapter in `folder` added to its weights. Those that change are written as `quant`.

    All other tensors and all metadata stay as they are, byte for byte. A base that was made for the time being names
    the files that it is `made_of`: those are hashed, and every matrix is written as `quant`.

    Raises:
        UmiError: the adapter cannot be merged, or `out` cannot be written. No file is left behind then.
    """
    vet_gguf(base)
    adapter = PeftAdapter.open(folder)
    if adapter.invocation:
        raise UsageError(
            f"{folder} is an activated adapter: merged, it would act on the whole prompt.",
            "Convert it without merging, and let a role use it.",
        )
    kind, file_type = WRITTEN[quant]
    deltas = _deltas(adapter, base)
    reader = gguf.GGUFReader(base)
    sums = sha256_of([*adapter.files, *(made_of or [base])])
    with partial(out) as path:
        writer = gguf.GGUFWriter(path, _text(reader, gguf.Keys.General.ARCHITECTURE))
        for field in reader.fields.values():
            own = field.name.startswith(("GGUF.", _OURS))
            if own or field.name in (gguf.Keys.General.ARCHITECTURE, gguf.Keys.General.FILE_TYPE):
                continue
            inner = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
        writer.data_alignment = reader.alignment
        writer.add_file_type(file_type)
        add_texts(writer, provenance(source, sums))
        kinds = {}
        for tensor in reader.tensors:
            shape = tuple(int(length) for length in reversed(tensor.shape))
            anew = tensor.name in deltas or made_of
            kinds[tensor.name] = kind_of(tensor.name, shape, kind) if anew else tensor.tensor_type
            block, size = gguf.GGML_QUANT_SIZES[kinds[tensor.name]]
            count = int(tensor.n_elements) // block * size
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), count, kinds[tensor.name])
        warnings = _write(writer, reader, deltas, kinds, progress)
        vet_gguf(path)
    return Written(out, len(reader.tensors), out.stat().st_size, [*adapter.warnings(float("inf")), *warnings])


def _write(
    writer: gguf.GGUFWriter,
    reader: gguf.GGUFReader,
    deltas: Mapping[str, Delta],
    kinds: Mapping[str, gguf.GGMLQuantizationType],
    progress: Callable[[int, int], None],
) -> list[str]:
    """Write the file; gives warnings of the numbers that were computed for it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    file: BinaryIO = writer.fout[0]
    writer.write_padding(file, file.tell())
    total, done = sum(int(tensor.n_bytes) for tensor in reader.tensors), 0
    numbers = Numbers()
    for tensor in reader.tensors:
        for block in _blocks(tensor, deltas.get(tensor.name), kinds[tensor.name]):
            file.write(block.data.data)
            numbers.look(tensor.name, block)
        writer.write_padding(file, file.tell())
        done += int(tensor.n_bytes)
        progress(done, total)
    writer.close()
    return numbers.warnings()


def _blocks(tensor: gguf.ReaderTensor, delta: Delta | None, kind: gguf.GGMLQuantizationType) -> Iterator[Encoded]:
    """A tensor's data, some rows at a time where they are computed anew."""
    if delta is None and kind == tensor.tensor_type:
        yield Encoded(np.ascontiguousarray(tensor.data))
        return
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    step = max(1, BLOCK_BYTES // (4 * int(tensor.shape[0])))
    for first in range(0, len(rows), step):
        wide = gguf.quants.dequantize(rows[first : first + step], tensor.tensor_type)
        if delta:
            down, up = delta
            wide = wide.astype(np.float32) + up[first : first + step] @ down
        yield encoded(wide, "F32", 0.0, kind)


def _deltas(adapter: PeftAdapter, base: Path) -> dict[str, Delta]:
    """By the base's tensor: A, and B in the base's arrangement with its scale."""
    backbone = adapter.check_base(base)
    found = {}
    for name, up in adapter.tensors.items():
        if ".lora_B." not in name:
            continue
        target = str(target_of(name, backbone))
        down = adapter.tensors[name.replace(".lora_B.", ".lora_A.")]
        found[target] = (down, arranged(up, target, backbone) * np.float32(adapter.alpha / up.shape[1]))
    return found


def _text(reader: gguf.GGUFReader, key: str) -> str:
    field = reader.get_field(key)
    return str(field.contents()) if field else ""
