"""Blocks of weights from the type that a checkpoint stores to the type that a GGUF holds, and what is lost by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from .safetensors import widened

Kind = gguf.GGMLQuantizationType

_STORED = {Kind.F32: "F32", Kind.F16: "F16", Kind.BF16: "BF16"}
_HALF = np.finfo(np.float16)
# A q8_0 block's scale is a float16, and its largest number is 127 of that.
_LARGEST = {Kind.F16: float(_HALF.max), Kind.Q8_0: float(_HALF.max) * 127}
# Elements at a time, so that every pass but the first finds them in the processor's cache.
_CHUNK = 1 << 17
_REST = np.uint16(0x7FFF)  # all but the sign
_INFINITE = {"BF16": np.uint16(0x7F80), "F16": np.uint16(0x7C00)}
# bfloat16 without its sign, from the first to behind the last that is a normal number of float16.
_FIRST, _SPAN = np.uint16(0x3880), np.uint16(0x4780 - 0x3880)
_LEAST = np.uint16(0x0400)  # that first one in float16


@dataclass(frozen=True, slots=True)
class Encoded:
    """A block in the file's type. `strange`: it has numbers that are none; `large`: some that the type cannot hold."""

    data: npt.NDArray[Any]
    strange: bool = False
    large: bool = False


def encoded(block: npt.NDArray[Any], stored: str, plus: float, kind: Kind) -> Encoded:
    """A block of rows, stored as the safetensors type `stored`, in the type `kind` with `plus` added to every number.

    NaN and infinities go over as they are, a number too large for float16 becomes infinite: both are told.
    """
    if not plus and stored == _STORED.get(kind):
        return Encoded(block, strange=_not_finite(block, stored))
    if not plus and stored == "BF16" and kind is Kind.F16:
        return _half_of_brain(block)
    wide = np.ascontiguousarray(widened(block, stored))
    if plus:
        wide = wide + np.float32(plus)
    # A NaN anywhere makes the largest number NaN.
    with np.errstate(invalid="ignore", over="ignore"):
        largest = float(np.abs(wide).max(initial=0))
        strange = not np.isfinite(largest)
        data = gguf.quants.quantize(wide, kind)
    return Encoded(data, strange, not strange and largest > _LARGEST.get(kind, np.inf))


def _not_finite(block: npt.NDArray[Any], stored: str) -> bool:
    if stored == "F32":
        return not np.isfinite(np.abs(block).max(initial=0))
    bits = block.view(np.uint16).reshape(-1)
    chunks = (bits[at : at + _CHUNK] for at in range(0, bits.size, _CHUNK))
    return any((chunk & _REST).max() >= _INFINITE[stored] for chunk in chunks)


def _half_of_brain(block: npt.NDArray[np.uint16]) -> Encoded:
    """float16 of bfloat16, by their bits: three times as fast as through float32, and the same to the last bit.

    Both have sign, exponent and fraction in this order; where both are normal numbers, the exponent's bias and the
    fraction's length are all that differs. Of the others, which are few, a table knows the bits.
    """
    bits = block.reshape(-1)
    made = np.empty(bits.shape, np.uint16)
    rest, others = np.empty(min(_CHUNK, bits.size), np.uint16), np.empty(min(_CHUNK, bits.size), np.bool_)
    strange = large = False
    for at in range(0, bits.size, _CHUNK):
        source, target = bits[at : at + _CHUNK], made[at : at + _CHUNK]
        size, other = rest[: source.size], others[: source.size]
        np.bitwise_and(source, _REST, out=size)
        # Unsigned, so that what lies below the first wraps around to beyond the span.
        np.subtract(size, _FIRST, out=target)
        np.greater_equal(target, _SPAN, out=other)
        np.left_shift(target, 3, out=target)
        target += _LEAST
        target |= np.bitwise_xor(source, size, out=size)  # the sign
        places = np.flatnonzero(other)
        if places.size:
            target[places] = _table()[source[places]]
            beyond = source[places] & _REST
            strange = strange or bool((beyond >= _INFINITE["BF16"]).any())
            large = large or bool(((beyond >= _FIRST) & (beyond < _INFINITE["BF16"])).any())
    return Encoded(made.view(np.float16).reshape(block.shape), strange, large and not strange)


@cache
def _table() -> npt.NDArray[np.uint16]:
    """The float16 of every bfloat16, both as bits."""
    bits = np.arange(1 << 16, dtype=np.uint32) << 16
    with np.errstate(over="ignore", invalid="ignore"):
        return bits.view(np.float32).astype(np.float16).view(np.uint16)
