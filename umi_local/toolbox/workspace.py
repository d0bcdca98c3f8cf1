"""The one folder that file tools may touch."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from umi_local.toolbox import csv_text

PROJECT_FILE = ".umi-local.toml"  # a workspace's own rules
_BY_DESCRIPTOR = os.open in os.supports_dir_fd  # not on Windows
_SHOWN = 24
_DEPTH = 3  # of folders in folders
_HEADER_BYTES = 400
_LOOKED_THROUGH = 200_000  # bytes of a table
_LONGEST = 1_500  # characters, after which columns are left out


def anything(_: object) -> bool:
    """What is asked where no rule speaks against anything."""
    return True


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
            ToolError: there is none.
        """
        real = self.resolve(path)
        if real.is_file():
            return real
        if real.is_dir():
            raise ToolError(f"{path} is a folder, not a file; list_files shows what is in it.")
        raise ToolError(f"The file {path} does not exist.")

    def open(self, file: Path) -> BinaryIO:
        """A regular file for reading, reached through the descriptors of its folders.

        `file` is what `resolve` gave. A link that somebody has put in its way since is not followed.

        Raises:
            ToolError: it is not there, is no regular file, or may not be read.
        """
        try:
            with self._folder(file.parent) as (folder, name_of):
                flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                descriptor = os.open(name_of(file), flags | getattr(os, "O_BINARY", 0), dir_fd=folder)
        except OSError as error:
            raise self._unusable(file, error) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ToolError(f"{self.name(file)} is not a regular file.")
        return os.fdopen(descriptor, "rb")

    def replace(self, file: Path, content: bytes) -> None:
        """Write a file whole, with the folders it needs: whoever reads sees the old content or the new, never a half.

        Folders are made and the file is put through descriptors, as in `open`; a link in the file's place is replaced.

        Raises:
            ToolError: it cannot be written.
        """
        draft = f".{secrets.token_hex(8)}.tmp"
        try:
            with self._folder(file.parent, create=True) as (folder, name_of):
                new = name_of(file.with_name(draft))
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
                try:
                    with os.fdopen(os.open(new, flags, 0o666, dir_fd=folder), "wb") as stream:
                        stream.write(content)
                        _take_mode(stream.fileno(), name_of(file), folder)
                    os.replace(new, name_of(file), src_dir_fd=folder, dst_dir_fd=folder)
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(new, dir_fd=folder)
        except OSError as error:
            raise self._unusable(file, error, "written") from None

    @contextmanager
    def _folder(self, folder: Path, create: bool = False) -> Iterator[tuple[int | None, Callable[[Path], str]]]:
        """A folder's descriptor and what a file in it is called by it; None and whole paths where there are none."""
        root = self.root.resolve()
        if not _BY_DESCRIPTOR:
            if create:
                folder.mkdir(parents=True, exist_ok=True)
            yield None, str
            return
        descriptor = _descend(root, folder.relative_to(root).parts, create)
        try:
            yield descriptor, lambda file: file.name
        finally:
            os.close(descriptor)

    def _unusable(self, file: Path, error: OSError, done: str = "read") -> ToolError:
        reason = (error.strerror or "no reason given").lower()
        return ToolError(f"{self.name(file)} could not be {done}: {reason}.")

    def overview(self, told: Callable[[str], bool] = anything, looked_at: Callable[[str], bool] = anything) -> str:
        """What lies in the folder, in one line: files by name, small folders by the files in them, and CSV tables with
        their columns, as SQL writes them.

        A small model that knows a file's name and columns makes far fewer wrong calls (see DESIGN.md).

        Args:
            told: whether a file or folder may be spoken of, by its path in the workspace.
            looked_at: whether a table's columns may be, too.
        """

        def inside(folder: Path) -> Iterator[Path]:
            for entry in folder.iterdir():
                if not entry.name.startswith(".") and told(entry.relative_to(self.root).as_posix()):
                    yield entry

        try:
            entries = sorted(inside(self.root))
        except OSError:
            return ""
        if not entries:
            return "The workspace is empty."
        more = f", and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
        shown = entries[:_SHOWN]
        for _ in range(_DEPTH):
            shown = _unfolded(shown, inside)
        parts: list[str] = []
        for entry in shown:
            room = sum(map(len, parts)) < _LONGEST
            path = entry.relative_to(self.root).as_posix()
            parts.append(self._described(path, entry, columns=room and looked_at(path)))
        return f"Files in the workspace: {', '.join(parts)}{more}."

    def _described(self, path: str, entry: Path, columns: bool) -> str:
        name = " ".join(path.split())
        with suppress(ToolError, OSError):
            if entry.is_dir():
                return f"{name}/"
            # A link may lead outside, or to another workspace's table: its name is all that is told.
            if not columns or entry.suffix.lower() not in (".csv", ".tsv") or entry.is_symlink():
                return name
            known, whole = self.columns(self.root.resolve() / path)
            return f"{name} (columns {', '.join(known)}{'' if whole else ', ...'})" if known else name
        return name

    def columns(self, file: Path, most: int = _HEADER_BYTES) -> tuple[list[str], bool]:
        """What a CSV table's first `most` bytes tell of its columns, as `csv_text.columns` does.

        Raises:
            ToolError: the file cannot be read.
        """
        with self.open(file) as table:
            read = table.read(most + 1)
        return csv_text.columns(read[:most], cut=len(read) > most)

    def answered(self, file: Path) -> list[str]:
        """The columns of a CSV table that say yes or no in every row, as SQL writes them; none of a long table.

        Raises:
            ToolError: the file cannot be read.
        """
        with self.open(file) as table:
            read = table.read(_LOOKED_THROUGH + 1)
        return [] if len(read) > _LOOKED_THROUGH else csv_text.answered(read)


def _unfolded(entries: Sequence[Path], inside: Callable[[Path], Iterator[Path]]) -> list[Path]:
    """The entries with folders replaced by what lies in them, one after the other, as long as there is room."""
    shown = list(entries)
    for folder in entries:
        with suppress(OSError):  # a folder that is closed to us stays one
            if folder.is_symlink() or not folder.is_dir():
                continue
            found = list(islice(inside(folder), _SHOWN + 1))
            if found and len(shown) - 1 + len(found) <= _SHOWN:
                at = shown.index(folder)
                shown[at : at + 1] = sorted(found)
    return shown


def _descend(root: Path, parts: Sequence[str], create: bool) -> int:
    """The descriptor of a folder below `root`, one step at a time and through no link."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        try:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _take_mode(descriptor: int, name: str, folder: int | None) -> None:
    """Give a new file the permissions of the one that it will replace."""
    with suppress(FileNotFoundError):
        old = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(old.st_mode) and hasattr(os, "fchmod"):
            os.fchmod(descriptor, old.st_mode & 0o777)
