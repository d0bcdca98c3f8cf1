"""A walk over a GGUF file's header, in Python, before native code sees the file.

llama.cpp may abort the process on a header that lies. Whatever is not pinned by a hash (a file that the user brought,
a converter's own output) goes through `vet_gguf` first. Every count and length is capped before it is used, so the
walk's time and memory are bounded by the caps and not by what the file claims.

Source: the GGUF specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from umi_local.errors import ModelCorrupt, ModelMissing, StorageError

Scalar = int | float | bool | str

# Several times what any published model holds; the largest have about 100 pairs, 2,000 tensors and 300,000 tokens.
MAX_PAIRS = 4_096
MAX_TENSORS = 65_536
MAX_ELEMENTS = 1 << 22
MAX_STRING_BYTES = 1 << 20
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 127
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 16

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SCALARS = {number: struct.Struct(form) for number, form in _FORMATS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

_PULL_AGAIN = "Fetch or copy the file again."
_LOOKALIKES = (
    (b"PK\x03\x04", "a zip archive, such as a wheel or a PyTorch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"ggml", "a GGML file of before 2023"),
    (b"lmgg", "a GGML file of before 2023"),
    (b"tjgg", "a GGML file of before 2023"),
)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header says. `metadata` has the scalars and strings under their GGUF keys, not the arrays.

    `context_length` is the trained context in tokens, 0 where the file does not say (an adapter);
    `tensor_bytes` is the sum of the tensors' sizes without padding.
    """

    architecture: str
    name: str
    context_length: int
    chat_template: str
    tensor_bytes: int
    metadata: Mapping[str, Scalar]


def vet_gguf(path: Path) -> GgufHeader:
    """Check the header of the GGUF file at `path` and every tensor's place in the file.

    Raises:
        ModelCorrupt: it is not GGUF, is cut short, or holds a value that no sound file holds.
        ModelMissing: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelCorrupt(f"{path} is not a file, so it cannot be a GGUF model.", "Name the .gguf file itself.")
        if not status.st_size:
            raise ModelCorrupt(f"{path.name} is empty.", _PULL_AGAIN)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Walk(path.name, data).header()
    except FileNotFoundError:
        raise ModelMissing(f"There is no file {path}.", "Check the path, or see: umi-local models list") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error


class _Walk:
    """One pass from the magic to the last tensor's end; `position` is the next unread byte."""

    def __init__(self, name: str, data: mmap.mmap) -> None:
        self.name = name
        self.data = data
        self.size = len(data)
        self.position = 0

    def header(self) -> GgufHeader:
        self._check_magic()
        tensors = self._count("tensors", MAX_TENSORS)
        metadata = self._metadata(self._count("key-value pairs", MAX_PAIRS))
        architecture = self._text(metadata, "general.architecture")
        # An importance matrix belongs to no architecture.
        if not architecture and metadata.get("general.type") != "imatrix":
            raise self._bad("names no architecture")
        context = metadata.get(f"{architecture}.context_length", 0)
        if metadata.get("split.count", 0) not in (0, 1):
            # llama.cpp would open the other files by itself, and nobody has looked at those.
            raise self._bad("is one of several parts", "Join them with llama.cpp's llama-gguf-split --merge.")
        if isinstance(context, bool) or not isinstance(context, int) or context < 0:
            key = _shown(f"{architecture}.context_length")
            raise self._bad(f"has {key} = {_shown(str(context))}, which is not a number of tokens")
        return GgufHeader(
            architecture=architecture,
            name=self._text(metadata, "general.name"),
            context_length=context,
            chat_template=self._text(metadata, "tokenizer.chat_template"),
            tensor_bytes=self._tensors(tensors, self._alignment(metadata)),
            metadata=MappingProxyType(metadata),
        )

    def _check_magic(self) -> None:
        if self.data[:4] != b"GGUF":
            raise self._not_gguf()
        self.position = 4
        version = self._number(_U32)
        if version not in _VERSIONS:
            if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
                raise self._bad("is big-endian and cannot be loaded here", "Get the little-endian file.")
            raise self._bad(f"is GGUF version {version}, not 2 or 3", "Get a newer copy, or convert the model again.")

    def _not_gguf(self) -> ModelCorrupt:
        start = bytes(self.data[:64])
        like = next((what for magic, what in _LOOKALIKES if start.startswith(magic)), "")
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < self.size:
            return self._bad("is a safetensors file, not GGUF", "Convert its folder first: umi-local convert FOLDER")
        if start.lstrip().startswith(b"<"):
            like = "a web page, perhaps a login or error page saved in place of the model"
        return self._bad(f"is not GGUF: it is {like}" if like else "is not GGUF")

    def _bad(self, what: str, remedy: str = _PULL_AGAIN) -> ModelCorrupt:
        return ModelCorrupt(f"{self.name} {what}.", remedy)

    def _cut_short(self) -> ModelCorrupt:
        return self._bad(f"is cut short: its {self.size:,} bytes end inside the header")

    def _number(self, form: struct.Struct) -> int:
        end = self.position + form.size
        if end > self.size:
            raise self._cut_short()
        (value,) = form.unpack_from(self.data, self.position)
        self.position = end
        return int(value)

    def _count(self, what: str, limit: int) -> int:
        count = self._number(_U64)
        if count > limit:
            raise self._bad(f"claims {count:,} {what}, more than any real model has")
        return count

    def _string(self, what: str, limit: int = MAX_STRING_BYTES) -> bytes:
        length = self._number(_U64)
        if length > limit:
            raise self._bad(f"claims {length:,} bytes for {what}, where {limit:,} are allowed")
        end = self.position + length
        if end > self.size:
            raise self._cut_short()
        text = bytes(self.data[self.position : end])
        self.position = end
        return text

    def _name(self, what: str, limit: int) -> str:
        try:
            return self._string(what, limit).decode()
        except UnicodeDecodeError:
            raise self._bad(f"holds {what} that is not UTF-8 text") from None

    def _metadata(self, pairs: int) -> dict[str, Scalar]:
        metadata: dict[str, Scalar] = {}
        seen: set[str] = set()
        for _ in range(pairs):
            key = self._name("a metadata key", MAX_KEY_BYTES)
            if key in seen:
                raise self._bad(f"holds the metadata key {_shown(key)} twice")
            seen.add(key)
            kind = self._number(_U32)
            if kind == _ARRAY:
                self._skip_array(key)
            else:
                metadata[key] = self._scalar(key, kind)
        return metadata

    def _scalar(self, key: str, kind: int) -> Scalar:
        if kind == _STRING:
            # A mangled author's name is no reason to refuse a model; nothing here is used as markup.
            return self._string(_shown(key)).decode(errors="replace")
        form = _SCALARS.get(kind)
        if form is None:
            raise self._bad(f"gives {_shown(key)} the unknown value type {kind}")
        if self.position + form.size > self.size:
            raise self._cut_short()
        value: Scalar = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return value

    def _skip_array(self, key: str) -> None:
        kind = self._number(_U32)
        count = self._count(f"elements in {_shown(key)}", MAX_ELEMENTS)
        if kind == _ARRAY:
            raise self._bad(f"nests arrays in {_shown(key)}, which llama.cpp does not load")
        if kind == _STRING:
            self._skip_strings(key, count)
            return
        form = _SCALARS.get(kind)
        if form is None:
            raise self._bad(f"gives {_shown(key)} the unknown value type {kind}")
        self.position += count * form.size
        if self.position > self.size:
            raise self._cut_short()

    def _skip_strings(self, key: str, count: int) -> None:
        # Local names and no slicing: a vocabulary has 300,000 of these.
        data, position, last, unpack = self.data, self.position, self.size - 8, _U64.unpack_from
        for _ in range(count):
            if position > last:
                raise self._cut_short()
            length = unpack(data, position)[0]
            if length > MAX_STRING_BYTES:
                raise self._bad(f"claims {length:,} bytes for one string of {_shown(key)}")
            position += 8 + length
        if position > self.size:
            raise self._cut_short()
        self.position = position

    def _text(self, metadata: Mapping[str, Scalar], key: str) -> str:
        value = metadata.get(key, "")
        if not isinstance(value, str):
            raise self._bad(f"has {key} = {value!r}, which is not text")
        return value

    def _alignment(self, metadata: Mapping[str, Scalar]) -> int:
        value = metadata.get("general.alignment", 32)
        if type(value) is not int or not 0 < value <= MAX_ALIGNMENT or value & (value - 1):
            raise self._bad(f"has general.alignment = {_shown(str(value))}, not a power of two up to {MAX_ALIGNMENT:,}")
        return value

    def _tensors(self, count: int, alignment: int) -> int:
        places: list[tuple[int, int, str]] = []
        names: set[str] = set()
        for _ in range(count):
            name = self._name("a tensor's name", MAX_TENSOR_NAME_BYTES)
            if name in names:
                raise self._bad(f"holds the tensor {_shown(name)} twice")
            names.add(name)
            size = self._tensor_bytes(name)
            offset = self._number(_U64)
            if offset % alignment:
                raise self._bad(f"puts {_shown(name)} at byte {offset:,}, which is not a multiple of {alignment}")
            places.append((offset, size, name))
        self._check_places(sorted(places), alignment)
        return sum(size for _, size, _ in places)

    def _tensor_bytes(self, name: str) -> int:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        dimensions = self._number(_U32)
        if dimensions > MAX_DIMENSIONS:
            raise self._bad(f"gives {_shown(name)} {dimensions:,} dimensions, where {MAX_DIMENSIONS} are allowed")
        shape = [self._number(_U64) for _ in range(dimensions)]
        elements = 1
        for length in shape:
            elements *= length
        if not 0 < elements < 1 << 63:
            raise self._bad(f"gives {_shown(name)} the impossible shape {' x '.join(map(str, shape))}")
        number = self._number(_U32)
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
        except (ValueError, KeyError):
            raise self._bad(f"gives {_shown(name)} the unknown tensor type {number}") from None
        if (shape[0] if shape else 1) % block:
            raise self._bad(f"has rows of {shape[0] if shape else 1:,} in {_shown(name)}, not a multiple of {block}")
        return elements // block * block_bytes

    def _check_places(self, places: list[tuple[int, int, str]], alignment: int) -> None:
        start = -(-self.position // alignment) * alignment
        free = 0
        for offset, size, name in places:
            if offset < free:
                raise self._bad(f"lays {_shown(name)} over another tensor")
            free = offset + size
        if places and start + free > self.size:
            raise self._bad(f"is cut short: {start + free - self.size:,} of its {start + free:,} bytes are missing")


def _shown(name: str) -> str:
    """`name` for a message: quoted, so that nothing in it reaches a terminal as a control character, and clipped."""
    return ascii(name if len(name) <= 64 else name[:61] + "...")
