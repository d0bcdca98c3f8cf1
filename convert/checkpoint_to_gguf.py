"""A Hugging Face checkpoint as one GGUF file, tensor by tensor."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter

from umi_local.errors import ModelCorrupt

from .architectures import architecture_of
from .checkpoint import Checkpoint
from .encoding import Encoded
from .hyperparameters import Hyperparameters, add_metadata
from .output import UNREAD, Numbers, Source, Written, add_texts, hashing, partial, provenance, put_digests
from .safetensors import shown
from .tokenizer import add_vocabulary, read_vocabulary
from .vet import vet_gguf
from .weights import WRITTEN, Planned, planned

_AT_WORK = 2  # threads; NumPy computes without the interpreter's lock
# What reading a value of another form can raise, here and when it is packed.
_SURPRISES = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, struct.error)

Made = Mapping[str, npt.NDArray[np.float32]]


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
    with _no_surprises(folder):
        checkpoint = Checkpoint.open(folder)
        entry = architecture_of(checkpoint.config)
        known = Hyperparameters(checkpoint.config, entry)
        metadata, made, warnings = known.metadata(), known.rotary_tensors(), known.warnings()
        tensors = planned(checkpoint, entry, kind)
    with partial(out) as path, hashing(checkpoint.files) as digests, closing(GGUFWriter(path, entry.gguf)) as writer:
        with _no_surprises(folder):
            vocabulary = read_vocabulary(folder, known.whole("vocab_size"), pre, entry.space_prefix)
            writer.add_type(gguf.GGUFType.MODEL)
            writer.add_name(_name(checkpoint, source))
            add_texts(writer, provenance(source, dict.fromkeys((file.name for file in checkpoint.files), UNREAD)))
            add_metadata(writer, entry, metadata)
            writer.add_file_type(file_type)
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            add_vocabulary(writer, vocabulary, folder)
            _write_head(writer, made, tensors)
        written = _write_tensors(writer, made, tensors, progress)
        writer.close()
        put_digests(path, digests.result())
        vet_gguf(path)
    written.path = out
    written.warnings[:0] = [*warnings, *vocabulary.warnings]
    return written


@contextmanager
def _no_surprises(folder: Path) -> Iterator[None]:
    """Files that are JSON and still have another form than any that was published."""
    try:
        yield
    except _SURPRISES as error:
        raise ModelCorrupt(f"{folder.name} cannot be right: {shown(repr(error))}.", "Fetch or copy it again.") from None


def _name(checkpoint: Checkpoint, source: Source) -> str:
    stated = checkpoint.config.get("_name_or_path")
    return str(stated or source.name.rpartition(":")[2]).rstrip("/").rpartition("/")[2][:200]


def _write_head(writer: GGUFWriter, made: Made, tensors: Iterable[Planned]) -> None:
    """Everything before the tensors' data."""
    for name, array in made.items():
        writer.add_tensor_info(name, array.shape, array.dtype, array.nbytes)
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()


def _write_tensors(
    writer: GGUFWriter, made: Made, tensors: list[Planned], progress: Callable[[int, int], None]
) -> Written:
    assert writer.fout is not None
    file: BinaryIO = writer.fout[0]
    total, done = sum(tensor.bytes for tensor in tensors), 0
    writer.write_padding(file, file.tell())
    for array in made.values():
        file.write(array.tobytes())
        writer.write_padding(file, array.nbytes)
    numbers = Numbers()
    with ThreadPoolExecutor(_AT_WORK) as pool:
        blocks = _ahead(pool, tensors)
        for tensor in tensors:
            written = 0
            while written < tensor.bytes:
                block = next(blocks)
                file.write(block.data.data)
                written += block.data.nbytes
                progress(done + written, total)
                numbers.look(tensor.name, block)
            done += tensor.bytes
            writer.write_padding(file, tensor.bytes)
    return Written(Path(), len(tensors) + len(made), total, numbers.warnings())


def _ahead(pool: ThreadPoolExecutor, tensors: Iterable[Planned]) -> Iterator[Encoded]:
    """All blocks in their order, of which the next ones are read and encoded while one is written."""
    waiting: deque[Future[Encoded]] = deque()
    for tensor in tensors:
        for part in tensor.parts:
            for first, count in part.spans():
                waiting.append(pool.submit(part.encoded, first, count, tensor.kind))
                if len(waiting) > _AT_WORK:
                    yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
