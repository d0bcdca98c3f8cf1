"""Writing a file whole or not at all: whoever reads it finds the old content or the new one, also after a crash."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_KEPT_OF_NAME = 200  # bytes; a name may have 255


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """An empty file beside `path` that takes its place in the end, or is gone if anything went wrong.

    Args:
        path: a link is replaced, not what it leads to.
        mode: the permissions; without, those of the file that is replaced, or what a new file gets.

    Raises:
        OSError: it cannot be written.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    name = os.fsencode(path.name)[:_KEPT_OF_NAME].decode("utf-8", "ignore")
    draft = path.with_name(f".{name}.{secrets.token_hex(4)}.part")
    held: int | None = None
    if mode is None:
        with suppress(OSError):
            held = stat.S_IMODE(path.lstat().st_mode) if path.is_file() and not path.is_symlink() else None
    try:
        draft.touch(mode=0o666 if mode is held is None else 0o600, exist_ok=False)
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            draft.chmod(mode)
        if held is not None:
            with suppress(OSError):  # not every file system has permissions that could be kept
                draft.chmod(held)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    """Give a file this content; `mode` as in `replacing`. Raises OSError if it cannot be written."""
    with replacing(path, mode) as draft:
        draft.write_bytes(content)
