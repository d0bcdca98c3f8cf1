"""What the installed llama.cpp is: its version, what it was compiled for, and what it can compute on."""

from __future__ import annotations

from dataclasses import dataclass

import llama_cpp

from umi_local.backends.llama_cpp.devices import Device, devices


@dataclass(frozen=True, slots=True)
class Build:
    """The binding's version, the compiled-in features (`AVX2 = 1` and the like), and ggml's devices."""

    version: str
    features: tuple[str, ...]
    devices: tuple[Device, ...]


def installed_build() -> Build:
    said: bytes = llama_cpp.llama_print_system_info()
    parts = (part.strip() for part in said.decode(errors="replace").split("|"))
    return Build(llama_cpp.__version__, tuple(part for part in parts if part), tuple(devices()))
