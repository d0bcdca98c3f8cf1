"""llama.cpp's own quantiser, in a process of its own: it may abort on a file that it does not like."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf

from umi_local.backends.llama_cpp.worker import lines_of
from umi_local.errors import ModelFailed, StorageError, UsageError

# Kept apart in llama.cpp for loading old files, or no types of whole files.
_NOT_OFFERED = {"GUESSED", "MOSTLY_NVFP4", "MOSTLY_Q4_1_SOME_F16"}
_NEED_IMATRIX = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
_FULL = 16 << 20  # bytes that are left of a disk on which a tensor no longer finds room
_PROGRESS = re.compile(rb"\[ *(\d+)/ *(\d+)\]")


def quantisations() -> dict[str, int]:
    """What llama.cpp can quantise a whole file to: its name, and the number that llama.cpp has for it."""
    known = {entry.name: int(entry) for entry in gguf.LlamaFileType if entry.name not in _NOT_OFFERED}
    return {name.removeprefix("ALL_").removeprefix("MOSTLY_"): number for name, number in known.items()}


def checked(name: str, imatrix: bool) -> str:
    """A quantisation by its name in any case.

    Raises:
        UsageError: there is none of that name, or it cannot be made without an importance matrix.
    """
    upper = name.upper()
    if upper not in quantisations():
        raise UsageError(f"There is no quantisation {name!r}.", f"Known are: {', '.join(quantisations())}.")
    if upper in _NEED_IMATRIX and not imatrix:
        raise UsageError(f"{upper} is useless without an importance matrix.", "Give one with --imatrix FILE.")
    return upper


def quantise(
    source: Path, out: Path, name: str, progress: Callable[[int, int], None], imatrix: Path | None = None
) -> None:
    """Write `source` (float32, float16 or bfloat16) to `out`; `progress` is told the tensors done and all.

    Raises:
        ModelFailed: llama.cpp could not.
        OutOfMemory: it was killed for the memory it took.
        StorageError: the disk is full.
    """
    number = quantisations()[checked(name, imatrix is not None)]
    given = [source, out, number, *([imatrix] if imatrix else [])]
    try:
        for line in lines_of(f"{source.name} could not be quantised", "quantise_child", *given, told_on_stderr=True):
            if found := _PROGRESS.search(line):
                progress(int(found[1]), int(found[2]))
    except ModelFailed:
        if shutil.disk_usage(out.parent).free < _FULL:
            raise StorageError(
                f"{out.parent} is full: {source.name} could not be quantised.",
                "Make room, or choose another folder with --out.",
            ) from None
        raise
