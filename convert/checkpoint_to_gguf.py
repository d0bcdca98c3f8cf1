"""A Hugging Face checkpoint as one GGUF file, tensor by tensor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelCorrupt

from .architectures import architecture_of
from .checkpoint import Checkpoint
from .hyperparameters import Hyperparameters, add_metadata
from .output import Source, Written, add_texts, partial, provenance, sha256_of
from .safetensors import shown
from .tokenizer import add_vocabulary, read_vocabulary
from .vet import vet_gguf
from .weights import WRITTEN, Kind, Part, Planned, planned

_STORED = {Kind.F32: "F32", Kind.F16: "F16", Kind.BF16: "BF16"}
_AT_WORK = 2  # threads; NumPy computes without the interpreter's lock


def convert_checkpoint(
    folder: Path, out: Path, quant: str, source: Source, progress: Callable[[int, int], None], pre: str = ""
) -> Written:
    """Write the checkpoint in `folder` to `out`; `progress` is told the bytes written and all bytes.

    `quant` is one of `WRITTEN`. Peak memory is a block of float32 and the tokenizer, whatever the model's size.

    Raises:
        UmiError: the folder, its config, weights or tokenizer cannot be converted, or `out` cannot be written. No file
            is left behind then.
    """
    kind, file_type = WRITTEN[quant]
    try:
        checkpoint = Checkpoint.open(folder)
        entry = architecture_of(checkpoint.config)
        tensors = planned(checkpoint, entry, kind)
        known = Hyperparameters(checkpoint.config, entry)
        made = known.rotary_tensors()
        vocabulary = read_vocabulary(folder, known.whole("vocab_size"), pre, entry.space_prefix)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        # Files that are JSON and still have another form than any that was published.
        raise ModelCorrupt(f"{folder.name} cannot be right: {shown(repr(error))}.", "Fetch or copy it again.") from None
    with partial(out) as path, ThreadPoolExecutor(1) as hashing:
        hashes = hashing.submit(sha256_of, checkpoint.files)
        writer = gguf.GGUFWriter(path, entry.gguf)
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(_name(checkpoint, source))
        add_metadata(writer, checkpoint, entry)
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_vocabulary(writer, vocabulary, folder)
        sums = hashes.result()
        add_texts(writer, provenance(source, sums))
        for name, array in made.items():
            writer.add_tensor_info(name, array.shape, array.dtype, array.nbytes)
        for tensor in tensors:
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, tensor.kind)
        written = _write(writer, made, tensors, progress)
        vet_gguf(path)
    written.path = out
    return written


def _name(checkpoint: Checkpoint, source: Source) -> str:
    stated = checkpoint.config.get("_name_or_path")
    return str(stated or source.name.rpartition(":")[2]).rstrip("/").rpartition("/")[2][:200]


def _write(
    writer: gguf.GGUFWriter,
    made: Mapping[str, npt.NDArray[np.float32]],
    tensors: list[Planned],
    progress: Callable[[int, int], None],
) -> Written:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    file: BinaryIO = writer.fout[0]
    total, done = sum(tensor.bytes for tensor in tensors), 0
    writer.write_padding(file, file.tell())
    for array in made.values():
        file.write(array.tobytes())
        writer.write_padding(file, array.nbytes)
    strange: list[str] = []
    large: list[str] = []
    for tensor in tensors:
        for data in _encoded_blocks(tensor):
            _look(data, tensor, strange, large)
            file.write(data.data)
            done += data.nbytes
            progress(done, total)
        writer.write_padding(file, tensor.bytes)
    writer.close()
    return Written(Path(), len(tensors) + len(made), total, _warnings(strange, large))


def _encoded_blocks(tensor: Planned) -> Iterator[npt.NDArray[Any]]:
    """A tensor's blocks in their order, of which the next ones are made while one is written."""
    with ThreadPoolExecutor(_AT_WORK) as pool:
        waiting: deque[Future[npt.NDArray[Any]]] = deque()
        for part in tensor.parts:
            for block in part.blocks():
                waiting.append(pool.submit(_encoded, part, block, tensor.kind))
                if len(waiting) > _AT_WORK:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _encoded(part: Part, block: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    """A block of rows in the file's type; left alone where it is stored so already."""
    if part.as_stored and part.tensor.kind == _STORED.get(kind):
        return block
    if part.as_stored and part.tensor.kind == "BF16" and kind is Kind.F16:
        half: npt.NDArray[Any] = _float16_of_bfloat16()[block]
        return half
    wide = np.ascontiguousarray(part.changed(block))
    if kind is Kind.F32:
        return wide
    if kind is Kind.F16:
        with np.errstate(over="ignore"):
            return wide.astype(np.float16)
    if kind is not Kind.BF16 and np.isnan(wide).any():
        raise ModelCorrupt(f"The tensor {shown(part.tensor.name)} holds NaN, which {kind.name} cannot.", "Try f32.")
    return gguf.quants.quantize(wide, kind)


@cache
def _float16_of_bfloat16() -> npt.NDArray[np.float16]:
    """The float16 of every bfloat16, by its bits: looking it up is twice as fast as computing it."""
    bits = np.arange(1 << 16, dtype=np.uint32) << 16
    with np.errstate(over="ignore", invalid="ignore"):
        return bits.view(np.float32).astype(np.float16)


def _look(data: npt.NDArray[Any], tensor: Planned, strange: list[str], large: list[str]) -> None:
    """Note tensors with numbers that are none, and those that float16 cannot hold."""
    if data.dtype == np.uint8:
        return
    # All exponent bits set: on integers this is several times faster than isfinite, above all for float16.
    bits: npt.NDArray[Any] = data.view(np.uint32 if data.itemsize == 4 else np.uint16)
    exponent = {np.dtype(np.float32): 0x7F800000, np.dtype(np.float16): 0x7C00}.get(data.dtype, 0x7F80)
    if not ((bits & exponent) == exponent).any():
        return
    numbers = (data.astype(np.uint32) << 16).view(np.float32) if data.dtype == np.uint16 else data
    noted = strange if np.isnan(numbers).any() or tensor.kind is not Kind.F16 else large
    if tensor.name not in noted:
        noted.append(tensor.name)


def _warnings(strange: list[str], large: list[str]) -> list[str]:
    found = []
    if strange:
        found.append(f"{len(strange)} tensors hold NaN or infinite numbers, the first of them {strange[0]}.")
    if large:
        found.append(f"{len(large)} tensors hold numbers too large for float16, such as {large[0]}: use bf16 or f32.")
    return found
