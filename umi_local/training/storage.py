"""How a run writes its files: whole or not at all, and what the system refuses is a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from umi_local.errors import StorageError


@contextmanager
def writing(path: Path, *also: type[Exception]) -> Iterator[None]:
    """For what writes `path`; `also` are the errors by which a library says that it could not.

    Raises:
        StorageError: it cannot be written.
    """
    refused: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except refused as error:
        reason = getattr(error, "strerror", None) or "there is no room for it"  # PyTorch tells an offset
        raise StorageError(
            f"{path} cannot be written: {reason}.", "Make room, or name another folder, and run the same command again."
        ) from None


@contextmanager
def replacing(path: Path, *also: type[Exception]) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole; until then, and if it never is, what was there stays.

    Raises:
        StorageError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with writing(path, *also):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """A folder that is there afterwards. Raises StorageError if it cannot be made."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
