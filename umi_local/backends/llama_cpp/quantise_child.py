"""The quantiser's process: SOURCE OUT NUMBER [IMATRIX]. What llama.cpp says of its progress goes to stderr."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import llama_cpp

from umi_local.backends.llama_cpp.imatrix import read_imatrix


def main(source: str, out: str, number: str, imatrix: str = "") -> int:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = int(number)
    held = []  # what the C structures point to
    if imatrix:
        entries = read_imatrix(Path(imatrix))
        array = (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))()
        for place, (name, values) in enumerate(entries.items()):
            data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            held.append((name.encode(), values, data))
            array[place].name, array[place].data, array[place].size = held[-1][0], data, values.size
        parameters.imatrix = array
    return int(llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(parameters)) != 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
