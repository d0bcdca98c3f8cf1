"""Which file or folder a path means, as small models write it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from umi_local.toolbox import ToolContext, ToolError, Workspace

MAX_SEARCHED_FILES = 5_000
_SHOWN = 12  # names of a folder
_MEANT = 3  # files that are offered in place of one
_READINGS = 8  # of one path, each of the name that the one before gave
_ALIKE = 0.75  # of the letters, without the ending
_LOOKED_AT = 4000  # characters of a plan
_TELLING = 4  # letters of a name without its ending; shorter ones are words


def path_scope(context: ToolContext, arguments: Mapping[str, Any]) -> Mapping[str, str]:
    """The file or folder that a path leads to, as rules compare it."""
    return {"path": context.workspace.name(place(context.workspace, arguments.get("path", "")))}


def place(workspace: Workspace, path: str) -> Path:
    """Where a path leads, also one in quotes, with backslashes, or that takes the workspace for the top of all.

    Raises:
        ToolError: it lies outside of the workspace, or is no path.
    """

    def read(path: str) -> Path:
        there = next((real for real in _readings(workspace, path, _plain(path), _inside(path)) if real.exists()), None)
        # Whether it is there makes no difference to what is said of a file that may not be seen.
        return there or workspace.resolve(_inside(path) or ".")

    return _settled(workspace, path, read)


def place_for(workspace: Workspace, path: str) -> Path:
    """Where a file belongs that may not be there yet; its path is read as in `place`.

    Raises:
        ToolError: it lies outside of the workspace, or is no path.
    """

    def read(path: str) -> Path:
        plain, inside = _plain(path), _inside(path)
        there = (real for real in _readings(workspace, path, plain, inside) if real.exists())
        new = (real for real in _readings(workspace, plain, inside) if real.parent.is_dir())
        return next(chain(there, new), None) or workspace.resolve(plain)

    return _settled(workspace, path, read)


def _settled(workspace: Workspace, path: str, read: Callable[[str], Path]) -> Path:
    """What a path is read as once its name there is read as itself: rules see that name, and a tool reads it again."""
    for _ in range(_READINGS):
        real = read(path)
        name = workspace.name(real)
        if name == path:
            return real
        path = name
    raise ToolError(f"{path!r} is not a usable path.")


def _readings(workspace: Workspace, *paths: str) -> Iterator[Path]:
    """Those of several readings of a path that lie inside of the workspace."""
    for path in paths:
        with suppress(ToolError):
            yield workspace.resolve(path or ".")


def _plain(path: str) -> str:
    return path.strip(" '\"`").replace("\\", "/")


def _inside(path: str) -> str:
    return _plain(path).removeprefix("./").lstrip("/").removeprefix("workspace/")


def existing_file(context: ToolContext, path: str) -> Path:
    """A regular file: the one at `path`, or the only one that can be meant, which differs in case, folder or ending.

    Raises:
        ToolError: there is none, or several; the sentence names them, files of like name or the folder's content.
    """
    real = place(context.workspace, path)
    if real.is_file():
        return real
    if real.is_dir():
        raise ToolError(f"{path} is a folder, not a file; list_files shows what is in it.")
    wanted = PurePosixPath(context.workspace.name(real).lower())
    known = [(PurePosixPath(name.lower()), name) for name in _known(context)]
    told: tuple[Callable[[PurePosixPath], bool], ...] = (
        lambda each: each == wanted,
        lambda each: each.name == wanted.name,
        lambda each: not wanted.suffix and each.stem == wanted.name,
    )
    for alike in told:
        meant = [name for each, name in known if alike(each)]
        if len(meant) == 1 and (len(wanted.parts) == 1 or meant[0].lower() == str(wanted)):
            return context.workspace.file(meant[0])
        if len(meant) > 1:
            raise ToolError(f"There are several files of that name: {', '.join(meant[:_SHOWN])}. Name one of these.")
    near = difflib.get_close_matches(wanted.stem, {each.stem for each, _ in known}, n=_MEANT, cutoff=_ALIKE)
    offered = [name for each, name in known if each.stem in near]
    hint = f" Did you mean {' or '.join(offered[:_MEANT])}?" if offered else _neighbours(context, real.parent)
    raise ToolError(f"The file {path} does not exist.{hint}")


def named_in(workspace: Workspace, text: str, ending: str = r"[^\W\d]\w{0,7}") -> dict[str, Path | None]:
    """What a text names like files, by the ending as a regular expression, with the file of each.

    None stands for one that is not there, or whose name may have begun with the word before.
    """
    found: dict[str, Path | None] = {}
    # Bounded on both sides: without that, a long text without blanks is searched again from each of its characters.
    before = r"(?:(?<![\w./-])(?P<before>[\w./-]{1,100}) )?"
    path = rf"(?<![^\s(\[\"'`“‘])(?<!\w')(?P<path>[\w./-]{{0,200}}\w\.(?:{ending}))(?!\.?\w)"
    for each in re.finditer(before + path, text[:_LOOKED_AT], re.IGNORECASE):
        found[each["path"]] = None
        with suppress(ToolError):
            if not each["before"] or not workspace.resolve(f"{each['before']} {each['path']}").exists():
                found[each["path"]] = workspace.file(each["path"])
    return found


def named_files(context: ToolContext, plan: str, _said: str) -> Mapping[str, Any] | None:
    """The schema of a `path` where a plan names files, all of which are there and may be looked at."""
    files = named_in(context.workspace, plan)
    seen = [path for path, file in files.items() if file and context.permitted(path_scope(context, {"path": path}))]
    if not seen or len(seen) < len(files) or _names_others(context, plan, {file for file in files.values() if file}):
        return None
    return {"type": "object", "properties": {"path": {"enum": list(files)}}, "required": ["path"]}


def _names_others(context: ToolContext, plan: str, files: set[Path]) -> bool:
    """Whether a plan may speak of other files than those that were found in it: README, notes (old).md."""
    root = context.workspace.root.resolve()
    others = [root / name for name in _known(context) if root / name not in files]
    rest, lowered = plan.lower(), plan.lower()
    for file in files:
        rest = rest.replace(file.relative_to(root).as_posix().lower(), " ").replace(file.name.lower(), " ")
    for other in others:
        names = {other.name.lower(), *([other.stem.lower()] if len(other.stem) >= _TELLING else [])}
        if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", rest) for name in names):
            return True
        if other.name.lower() in lowered and any(other.name.lower().endswith(file.name.lower()) for file in files):
            return True
    return False


def may_be_told(context: ToolContext, entry: Path) -> bool:
    """Whether a file or folder is one to be listed: not hidden, inside of the workspace, and off no limits."""
    if entry.name.startswith("."):
        return False
    try:
        real = context.workspace.resolve(str(entry))  # a link that leads outside is not even measured
    except ToolError:
        return False
    return (real.is_file() or real.is_dir()) and context.permitted({"path": context.workspace.name(real)})


def searchable(start: Path) -> Iterator[Path]:
    """The files below a folder, without hidden ones and without links: what they lead to is inside, or off limits."""
    if start.is_file():
        yield start
    for folder, folders, names in os.walk(start):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if not file.is_symlink() and file.is_file():
                yield file


def _known(context: ToolContext) -> list[str]:
    """The files that may be looked at, by their paths in the workspace."""
    names = map(context.workspace.name, islice(searchable(context.workspace.resolve(".")), MAX_SEARCHED_FILES))
    return [name for name in names if context.permitted({"path": name})]


def _neighbours(context: ToolContext, folder: Path) -> str:
    if not folder.is_dir():
        return f" There is no folder {folder.name} either."
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    names = [entry.name for entry in entries if may_be_told(context, entry)]
    told = f" The folder has: {', '.join(names[:_SHOWN])}." if names else ""
    return told if entries else " The folder is empty."
