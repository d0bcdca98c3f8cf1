"""What every conversion writes: one file that is whole or not there, and where it comes from."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import gguf

import umi_local
from umi_local import atomic
from umi_local.errors import StorageError, UsageError

from .encoding import Encoded
from .safetensors import shown

# Stands for a digest that is not known yet, and is as long as one.
UNREAD = "?" * 64
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where a checkpoint came from, for the file's metadata."""

    name: str
    revision: str = ""


@dataclass
class Written:
    """What a conversion gave. `warnings` are sentences for the user."""

    path: Path
    tensors: int
    bytes: int
    warnings: list[str] = field(default_factory=list)


@contextmanager
def partial(out: Path, replaces: bool = False) -> Iterator[Path]:
    """A file beside `out` that takes its place at the end, or is gone if anything went wrong.

    Raises:
        UsageError: `out` is there already, and it is not one that `replaces` it.
        StorageError: it cannot be written.
    """
    if out.exists() and not replaces:
        raise UsageError(f"{out} is there already.", "Name another file with --out, or remove it first.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no folder {out.parent}.", "Make it first.")
    try:
        with atomic.replacing(out) as draft:
            yield draft
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror}.", "Make room, or choose another folder."
        ) from error


def provenance(source: Source, sums: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Where a file comes from, as its metadata tells: what was converted, of which files, and by which version."""
    told: dict[str, str | list[str]] = {"umi_local.convert.source": source.name}
    if source.revision:
        told["umi_local.convert.revision"] = source.revision
    told["umi_local.convert.version"] = umi_local.__version__
    told["umi_local.convert.sha256"] = [f"{digest}  {name}" for name, digest in sums.items()]
    return told


def add_texts(writer: gguf.GGUFWriter, metadata: Mapping[str, str | Sequence[str]]) -> None:
    """Write metadata that is texts and lists of texts."""
    for key, value in metadata.items():
        writer.add_string(key, value) if isinstance(value, str) else writer.add_array(key, value)


def sha256_of(files: Sequence[Path]) -> dict[str, str]:
    """Digests by file name."""
    return _digests(files, Event())


@contextmanager
def hashing(files: Sequence[Path]) -> Iterator[Future[dict[str, str]]]:
    """What `sha256_of` gives, computed beside other work and given up where that goes wrong."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(_digests, files, stop)
        finally:
            stop.set()


def _digests(files: Sequence[Path], stop: Event) -> dict[str, str]:
    sums = {}
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while not stop.is_set() and (block := file.read(_HASHED_AT_ONCE)):
                digest.update(block)
        sums[path.name] = digest.hexdigest()
    return sums


def put_digests(path: Path, sums: Mapping[str, str]) -> None:
    """Fill in what a header says of files that were not read to their end when it was written (`UNREAD`)."""
    with path.open("rb+") as file, mmap.mmap(file.fileno(), 0) as data:
        at = 0
        for name, digest in sums.items():
            at = data.find(f"{UNREAD}  {name}".encode(), at)
            assert at > 0, name
            data[at : at + len(digest)] = digest.encode()


@dataclass
class Numbers:
    """What blocks that are written have of numbers that are none, or too large for the type: the tensors' names."""

    strange: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)

    def look(self, name: str, block: Encoded) -> None:
        for is_so, names in ((block.strange, self.strange), (block.large, self.large)):
            if is_so and name not in names:
                names.append(name)

    def warnings(self) -> list[str]:
        return told_numbers(self.strange, self.large)


def told_numbers(strange: Sequence[str], large: Sequence[str]) -> list[str]:
    """Warnings for tensors with numbers that are none, and with numbers that the file's type cannot hold."""
    found = []
    if strange:
        found.append(f"{len(strange)} tensors hold NaN or infinite numbers, the first of them {shown(strange[0])}.")
    if large:
        found.append(f"{len(large)} tensors hold numbers too large for the type, as {shown(large[0])}: use f32.")
    return found
