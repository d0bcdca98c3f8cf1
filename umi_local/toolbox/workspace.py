"""The one folder that file tools may touch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 24
_HEADER_BYTES = 160


class ToolError(Exception):
    """A tool's own word that it could not do it: a sentence that a planner can act on."""


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    def resolve(self, path: str) -> Path:
        """The real place of `path`, with every symlink and `..` followed.

        Raises:
            ToolError: it lies outside the workspace, or is no path at all.
        """
        try:
            real = (self.root / path.strip()).resolve()
            root = self.root.resolve()
            real.exists()  # raises where the name is too long or its folder is closed to us
        except (OSError, ValueError, RuntimeError):
            raise ToolError(f"{path!r} is not a usable path.") from None
        if not real.is_relative_to(root):
            raise ToolError(f"{path} lies outside the workspace; only files inside it can be used.")
        return real

    def name(self, path: Path) -> str:
        """`path` as the model knows it: relative to the workspace, with forward slashes."""
        return path.relative_to(self.root.resolve()).as_posix() or "."

    def file(self, path: str) -> Path:
        """An existing regular file.

        Raises:
            ToolError: there is none; the sentence names files of like name or the folder's content.
        """
        real = self.resolve(path)
        if real.is_file():
            return real
        if real.is_dir():
            raise ToolError(f"{path} is a folder, not a file; list_files shows what is in it.")
        raise ToolError(f"The file {path} does not exist.{self._neighbours(real)}")

    def overview(self) -> str:
        """What lies in the folder, in one line: its first files and folders by name, and the columns of CSV tables.

        A small model that knows a file's name and columns makes far fewer wrong calls (see DESIGN.md).
        """
        try:
            entries = sorted(entry for entry in self.root.iterdir() if not entry.name.startswith("."))
        except OSError:
            return ""
        if not entries:
            return "The workspace is empty."
        more = f", and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
        return f"Files in the workspace: {', '.join(map(_described, entries[:_SHOWN]))}{more}."

    def _neighbours(self, missing: Path) -> str:
        folder = missing.parent
        if not folder.is_dir():
            return f" There is no folder {folder.name} either."
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))[:12]
        return f" The folder has: {', '.join(names)}." if names else " The folder is empty."


def _described(entry: Path) -> str:
    name = " ".join(entry.name.split())
    if entry.is_dir():
        return f"{name}/"
    # A link may lead outside, or to another workspace's table: its name is all that is told.
    if entry.suffix.lower() != ".csv" or entry.is_symlink() or not entry.is_file():
        return name
    with suppress(OSError), entry.open("rb") as file:
        header = file.read(_HEADER_BYTES).decode("utf-8", errors="replace").split("\n")[0]
        columns = [" ".join(column.strip().strip('"').split()) for column in header.split(",")]
        return f"{name} (columns {', '.join(columns)})"
    return name
