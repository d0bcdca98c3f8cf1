"""The keys and values of a trunk's constant beginning, on disk: what one process reads, the next need not.

A file is a line of JSON and the sequence's state as llama.cpp gives it. It is named by all that the state depends on
(model, adapter, llama.cpp's build, the cache's types, the tokens), written aside and moved into place, so that two
processes may write at once. llama.cpp may abort on damaged state, so nothing is handed to it whose digest is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FORMAT = 1
_LONGEST_HEADER = 4096  # bytes
_DRAFT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A folder of snapshots of at most `limit` bytes together; the one used longest ago goes first.

    A folder that cannot be written, or a snapshot that cannot be read, only costs the reading that it would have saved.
    """

    folder: Path
    limit: int

    def load(self, key: str) -> bytes | None:
        """The state kept under `key`. One that is damaged, or another user's, is removed and counts as not there."""
        path = self._path(key)
        try:
            state = _checked(path, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return state

    def save(self, key: str, state: bytes) -> None:
        """Keep `state` under `key`, and make room for it."""
        if len(state) > self.limit:
            return
        header = {"format": _FORMAT, "key": key, "bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()}
        draft = self.folder / f"{key}.{os.getpid()}.part"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(json.dumps(header).encode() + b"\n")
                file.write(state)
            draft.replace(self._path(key))
        except OSError:
            with suppress(OSError):
                draft.unlink()
            return
        self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.state"

    def _make_room(self) -> None:
        for draft in self.folder.glob("*.part"):  # of a process that was killed while it wrote
            with suppress(OSError):
                if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                    draft.unlink()
        held: list[tuple[int, int, Path]] = []
        for path in self.folder.glob("*.state"):
            with suppress(OSError):  # another process makes room, too
                status = path.stat()
                held.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total <= self.limit:
                break
            with suppress(OSError):
                path.unlink()
            total -= size


def key_of(parts: Mapping[str, object], tokens: Sequence[int]) -> str:
    """The name of a snapshot: a digest of everything that its content depends on."""
    told = json.dumps([_FORMAT, dict(sorted(parts.items())), list(tokens)])
    return hashlib.sha256(told.encode()).hexdigest()


def _checked(path: Path, key: str) -> bytes:
    """The state in a file of ours that is whole. Raises ValueError if it is not."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
            raise ValueError("not a file of this user's")
        header = json.loads(file.readline(_LONGEST_HEADER))
        if not isinstance(header, dict) or header.get("format") != _FORMAT or header.get("key") != key:
            raise ValueError("another snapshot")
        state = file.read()
    if len(state) != header.get("bytes") or hashlib.sha256(state).hexdigest() != header.get("sha256"):
        raise ValueError("damaged")
    return state
