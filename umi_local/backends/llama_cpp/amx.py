"""llama.cpp's kernels for Intel's AMX tiles are kept out: on Linux they may end the process.

GCC drops the constant from which llama.cpp configures its tiles (ggml-org/llama.cpp, pull request 26954), and the first
batch of tokens is then an illegal instruction. Linux grants tiles to a process only if every alternate signal stack
of its threads could hold them. One that is too small makes llama.cpp say that AMX is not ready, and take its other
kernels.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path
from typing import ClassVar

_ARCH_PRCTL = 158
_GET_PERMISSION, _REQUEST_PERMISSION = 0x1022, 0x1023
_TILE_DATA = 18  # the state component's number
_SMALL = 8192  # bytes: enough for a handler, less than the tiles take


class _Stack(ctypes.Structure):
    _fields_: ClassVar = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("bytes", ctypes.c_size_t)]


@cache
def refuse_amx() -> bool:
    """Whether no tiles will be used by what is loaded from now on; False if another library has them already.

    To be called before llama.cpp loads its first model, in a thread that stays.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or not _has_tiles():
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    granted = ctypes.c_ulong()
    if libc.syscall(_ARCH_PRCTL, _GET_PERMISSION, ctypes.byref(granted)) or granted.value >> _TILE_DATA & 1:
        return False
    stack = ctypes.create_string_buffer(_SMALL)
    _kept.append(stack)
    if libc.sigaltstack(ctypes.byref(_Stack(ctypes.addressof(stack), 0, _SMALL)), None):
        return False
    return bool(libc.syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) != 0)


_kept: list[ctypes.Array[ctypes.c_char]] = []


def _has_tiles() -> bool:
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
