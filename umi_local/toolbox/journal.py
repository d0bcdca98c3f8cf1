"""What files held before a tool changed them, so that a person can take the change back."""

from __future__ import annotations

import hashlib
import json
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umi_local import atomic

_KEPT_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Undone:
    """A change that was taken back, or why it was not."""

    path: Path
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """The changes of one session, each a file in `folder` that is read by its owner alone."""

    folder: Path

    def keep(self, file: Path, old: bytes | None, new: bytes) -> str:
        """Keep what `file` holds, None where it is not there, before `new` replaces it. Gives the entry's name.

        Raises:
            OSError: it cannot be kept; then the file must not be changed.
        """
        forget_old(self.folder.parent)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{secrets.token_hex(2)}"
        mode = stat.S_IMODE(file.stat().st_mode) if old is not None else None
        entry = {"path": str(file), "existed": old is not None, "after": _digest(new), "mode": mode}
        try:
            if old is not None:
                (self.folder / f"{name}.before").write_bytes(old)
            (self.folder / f"{name}.json").write_text(json.dumps(entry), encoding="utf-8")
        except OSError:
            self.drop(name)  # half an entry would stand before the older ones
            raise
        return name

    def drop(self, name: str) -> None:
        """Forget an entry whose change never came about."""
        for kind in ("json", "before"):
            (self.folder / f"{name}.{kind}").unlink(missing_ok=True)

    def undo(self, force: bool = False) -> Undone | None:
        """Take the last change back; None if there is none. A file that was changed since is left, unless forced."""
        last, entry = self._last()
        if last is None:
            return None
        before, file = last.with_suffix(".before"), Path(entry["path"])
        try:
            now = file.read_bytes() if file.is_file() else None
            if not force and (now is None or _digest(now) != entry["after"]):
                return Undone(file, "it was changed or removed since; --force puts the old content back all the same")
            if entry["existed"]:
                mode = entry.get("mode")
                atomic.write(file, before.read_bytes(), 0o644 if mode is None else mode)  # older entries have none
            else:
                file.unlink(missing_ok=True)
        except OSError as error:
            return Undone(file, f"it cannot be put back: {error.strerror}")
        last.unlink()
        before.unlink(missing_ok=True)
        return Undone(file)

    def _last(self) -> tuple[Path | None, dict[str, Any]]:
        """The latest entry and what it says; one that a crash cut short is passed over: its change never came about."""
        for entry in sorted(self.folder.glob("*.json"), reverse=True):
            with suppress(OSError, ValueError):
                return entry, json.loads(entry.read_text(encoding="utf-8"))
        return None, {}


def forget_old(folder: Path) -> None:
    """Remove what is older than a month in the journals below `folder`."""
    limit = time.time() - _KEPT_SECONDS
    for file in folder.glob("*/*"):
        with suppress(OSError):
            if file.stat().st_mtime < limit:
                file.unlink()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
