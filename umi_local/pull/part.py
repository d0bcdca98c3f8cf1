"""A download as far as it got: a `.part` file whose length is its whole state."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from umi_local.errors import ModelMissing
from umi_local.manifest import PackFile
from umi_local.paths import HOME_VARIABLE, cannot_write

# A file-size limit is a full disk to its user: FAT32 ends at 4 GiB, and a quota or ulimit wherever it was set.
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SourceFailed(Exception):
    """Why a source could not go on, in a few words. Never leaves this package."""


class Part:
    """Append-only, and unbuffered so that a killed process leaves nothing but right bytes behind."""

    def __init__(self, path: Path, file: PackFile) -> None:
        self.path = path
        self.file = file
        try:
            self._handle = path.open("ab", buffering=0)
            self.length = os.fstat(self._handle.fileno()).st_size
        except OSError as error:
            raise cannot_write(path, error) from error
        if self.length > file.bytes:
            self.clear()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._handle.close()

    @property
    def missing(self) -> int:
        return self.file.bytes - self.length

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            SourceFailed: the file would become longer than promised.
            ModelMissing: the disk is full; what was written stays.
            StorageError: the disk fails otherwise.
        """
        if len(data) > self.missing:
            raise SourceFailed(f"it gives more than the {self.file.bytes:,} bytes promised")
        rest = memoryview(data)
        with self._translated():
            while rest:
                written = self._handle.write(rest) or 0
                self.length += written
                rest = rest[written:]

    def clear(self) -> None:
        """Begin again, for bytes that turned out wrong."""
        with self._translated():
            self._handle.truncate(0)
        self.length = 0

    def sync(self) -> None:
        """Make the bytes outlast a power failure."""
        with self._translated():
            os.fsync(self._handle.fileno())

    def require_space(self, working: int = 0) -> None:
        """Raise ModelMissing where the disk lacks room for what is missing and `working` bytes besides."""
        with self._translated():
            free = shutil.disk_usage(self.path.parent).free
        if free < self.missing + working:
            raise self.disk_full(working)

    def disk_full(self, working: int = 0) -> ModelMissing:
        """The sentence for a disk without room."""
        folder = self.path.parent
        with self._translated():
            free = shutil.disk_usage(folder).free
        needed = self.missing + working
        return ModelMissing(
            f"{self.file.filename} needs {needed:,} more bytes of disk, and {folder} has {free:,} free.",
            f"Free some space and try again (what is fetched is kept), or set {HOME_VARIABLE} to a folder with more.",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL_DISK:
                raise self.disk_full() from error
            raise cannot_write(self.path, error) from error
