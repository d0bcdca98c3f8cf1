"""tokenizer.model: SentencePiece's protocol buffer, walked in Python.

Google's library tells neither the kind of a model nor its normaliser without protobuf's code as well, and it parses in
native code what someone put on the internet; the four messages needed here are a few fields each.
Source: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from umi_local.errors import ModelCorrupt

MAX_BYTES = 64_000_000
MAX_PIECES = 1 << 22
_UNIGRAM = 1


@dataclass
class Pieces:
    """The tokens by number: text, score and type (1 normal, 2 unknown, 3 control, 4 user's, 5 unused, 6 byte)."""

    entries: list[tuple[str, float, int]] = field(default_factory=list)
    unigram: bool = True
    space_prefix: bool = True
    single_spaces: bool = True
    charsmap: bytes = b""


def read_pieces(path: Path) -> Pieces:
    """The tokens and settings of a SentencePiece model.

    Raises:
        ModelCorrupt: it is none.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelCorrupt(f"{path.name} has {size:,} bytes, more than any real one.")
    found = Pieces()
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1 and isinstance(value, bytes):
                found.entries.append(_piece(value))
                if len(found.entries) > MAX_PIECES:
                    break
            elif number == 2 and isinstance(value, bytes):
                found.unigram = dict(_fields(value)).get(3, _UNIGRAM) == _UNIGRAM
            elif number == 3 and isinstance(value, bytes):
                settings = dict(_fields(value))
                charsmap = settings.get(2, b"")
                found.charsmap = charsmap if isinstance(charsmap, bytes) else b""
                found.space_prefix, found.single_spaces = bool(settings.get(3, 1)), bool(settings.get(4, 1))
    except (ValueError, IndexError, struct.error):
        raise ModelCorrupt(f"{path.name} is no SentencePiece model.", "Fetch or copy it again.") from None
    if not 0 < len(found.entries) <= MAX_PIECES:
        raise ModelCorrupt(f"{path.name} holds {len(found.entries):,} tokens, which no SentencePiece model does.")
    return found


def _piece(data: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int) or not 1 <= kind <= 6:
        raise ValueError(kind)
    return text.decode(), struct.unpack("<f", score)[0], kind


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: numbers, or the bytes of whatever is longer.

    Raises:
        ValueError, IndexError: it is no message.
    """
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _number(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(kind)
        if at + length > len(data):
            raise IndexError(length)
        yield key >> 3, data[at : at + length]
        at += length


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, seven bits each, and where it ends."""
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError(value)
