"""The files of the workspace: list, read, search, write. Names that start with a dot are left alone when listing."""

from __future__ import annotations

import codecs
import difflib
import io
import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from umi_local.plain import visible
from umi_local.toolbox import PROJECT_FILE, Effect, ToolContext, ToolError, Workspace, tool
from umi_local.toolbox.stopping import Stopped

from .paths import MAX_SEARCHED_FILES, existing_file, may_be_told, named_files, path_scope, place, place_for, searchable
from .words import stem, telling_words

MAX_LISTED = 100
MAX_READ = 200_000  # bytes
MAX_WRITTEN = 1_000_000  # bytes
MAX_KEPT = 50_000_000  # bytes of a file that is to be replaced
MAX_SEARCHED_SIZE = 5_000_000  # bytes of one file
MAX_HITS = 30
MAX_HIT_LENGTH = 200
_BINARY = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # no text has these; escapes of terminals begin with \x1b
_TELLING = 4  # letters; shorter words stand everywhere
_MOST_SCATTERED = 5  # lines of one file


@tool(effect=Effect.READS, scope=path_scope)
def list_files(context: ToolContext, path: Annotated[str, "folder; empty for the top"] = "") -> str:
    """List the files and folders in a folder, with their sizes."""
    folder = place(context.workspace, path)
    if folder.is_file():
        return _entry(folder)
    if not folder.is_dir():
        raise ToolError(f"There is no folder {path}. list_files without a path shows what there is.")
    there = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    entries = [entry for entry in there if may_be_told(context, entry)]
    entries.sort(key=lambda entry: (entry.is_file(), entry.name.lower()))
    lines = [_entry(entry) for entry in entries[:MAX_LISTED]]
    if len(entries) > MAX_LISTED:
        lines.append(f"... and {len(entries) - MAX_LISTED} more.")
    return "\n".join(lines) or ("Nothing in the folder may be told." if there else "The folder is empty.")


def _entry(path: Path) -> str:
    return f"{path.name}/" if path.is_dir() else f"{path.name} ({size(path.stat().st_size)})"


def size(count: int) -> str:
    """A number of bytes for a reader: 999 bytes, 1.2 kB, 3.4 MB."""
    if count < 1000:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    amount, unit = (count / 1e3, "kB") if count < 999_950 else (count / 1e6, "MB")
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"


@tool(effect=Effect.READS, scope=path_scope, narrow=named_files)
def read_file(context: ToolContext, path: Annotated[str, "file, such as notes/plan.md"]) -> str:
    """Read a text file whose name is known."""
    file = existing_file(context, path)
    with context.workspace.open(file) as stream:
        length = os.fstat(stream.fileno()).st_size
        text = _decoded(stream.read(MAX_READ), final=length <= MAX_READ)
    if text is None:
        raise ToolError(f"{path} is not a text file, so it cannot be read.{_reader(file)}")
    if length > MAX_READ:
        return f"{text}\n[These are the first {size(MAX_READ)} of {size(length)}; search_files finds the rest.]"
    return text.replace("\r\n", "\n") or f"{path} is empty."


def _reader(file: Path) -> str:
    return " query_table can read it." if file.suffix.lower() == ".parquet" else ""


def _decoded(data: bytes, final: bool = True) -> str | None:
    """Bytes as text; None if they are none. Not `final`: the end may be in the middle of a character."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):  # the latter of old Windows programs
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data, final)
        except UnicodeDecodeError:
            continue
        return None if _BINARY.search(text.removesuffix("\x1a")) else text  # which ended files under DOS
    return None


@tool(effect=Effect.READS, scope=path_scope)
def search_files(
    context: ToolContext,
    text: Annotated[str, "words to look for"],
    path: Annotated[str, "folder or file; empty for all"] = "",
) -> str:
    """Find which files contain a text, and in which lines."""
    wanted = _spoken(text).strip(" '\"“”.,:;?!") or _spoken(text)
    if not wanted:
        raise ToolError("Say which text to look for.")
    start = place(context.workspace, path)
    if not start.exists():
        raise ToolError(f"There is no {path}. list_files shows what there is.")
    found: dict[_Holds, list[str]] = {holds: [] for holds in _Holds}
    searched = skipped = 0
    for file in searchable(start):
        if context.stop.is_set():
            raise Stopped
        if searched + skipped == MAX_SEARCHED_FILES:
            return _report(text, found, f"the first {MAX_SEARCHED_FILES} files")
        if not context.permitted({"path": context.workspace.name(file)}):
            skipped += 1  # its name is not told either
            continue
        content = _text_of(context.workspace, file)
        searched, skipped = (searched, skipped + 1) if content is None else (searched + 1, skipped)
        for line, holds in _hits(context.workspace, file, content or "", wanted):
            if len(found[holds]) <= MAX_HITS:  # one more tells that there are more
                found[holds].append(line)
        if len(found[_Holds.PHRASE]) > MAX_HITS:
            break
    where = f"{searched} file{'' if searched == 1 else 's'}"
    be = "is" if skipped == 1 else "are"
    unread = f"; {skipped} could not be read, {be} off limits or larger than {size(MAX_SEARCHED_SIZE)}"
    return _report(text, found, where + (unread if skipped else ""))


class _Holds(Enum):
    """What a line has of the phrase that is looked for, the best first; the text says so to the model."""

    PHRASE = ""
    ALL_WORDS = "These lines have all words of {text!r}:"
    SOME_WORDS = "These lines are from files that have all words of {text!r}:"


def _hits(workspace: Workspace, file: Path, text: str, wanted: str) -> Iterator[tuple[str, _Holds]]:
    """Lines with the phrase or all its words, as `path:number: line`; of a file that has the words on different lines
    alone, the few with most of the telling ones.
    """
    name = workspace.name(file)
    if wanted in file.name.lower():
        yield f"{name} (a file of this name; read_file shows its text)", _Holds.PHRASE
    words = [stem(word) for word in telling_words(wanted)]
    if not words or min(map(len, words)) < 2:  # of C++ its word says nothing
        words = wanted.split()
    telling = [word for word in words if len(word) >= _TELLING] or words
    lowered = text.lower().replace("’", "'")
    scattered: list[tuple[int, str]] = []
    if not all(word in lowered for word in telling):
        return
    for number, line in enumerate(text.splitlines(), 1):
        spoken = _spoken(line)
        there = [word for word in telling if word in spoken]
        if not there:
            continue
        hit = f"{name}:{number}: {_around(line.strip(), there[0])}"
        if wanted in spoken or all(word in spoken for word in words):
            yield hit, _Holds.PHRASE if wanted in spoken else _Holds.ALL_WORDS
        else:
            scattered = sorted([*scattered, (len(there), hit)], key=lambda known: -known[0])[:_MOST_SCATTERED]
    yield from ((hit, _Holds.SOME_WORDS) for _, hit in scattered)


def _spoken(text: str) -> str:
    """A text for comparing: its case, its blanks and the form of its apostrophes make no difference."""
    return " ".join(text.lower().replace("’", "'").split())


def _text_of(workspace: Workspace, file: Path) -> str | None:
    """The file's text; None if it holds none or cannot be searched."""
    try:
        with workspace.open(file) as stream:
            content = stream.read(MAX_SEARCHED_SIZE + 1)
    except (ToolError, OSError):  # one unreadable file must not hide the others
        return None
    return None if len(content) > MAX_SEARCHED_SIZE else _decoded(content)


def _around(line: str, word: str) -> str:
    if len(line) <= MAX_HIT_LENGTH:
        return line
    start = max(0, line.lower().find(word) - MAX_HIT_LENGTH // 2)
    return "..." * (start > 0) + line[start : start + MAX_HIT_LENGTH] + "..." * (start + MAX_HIT_LENGTH < len(line))


def _report(text: str, found: Mapping[_Holds, list[str]], where: str) -> str:
    holds = next((holds for holds, lines in found.items() if lines), None)
    if holds is None:
        return f"Nothing was found for {text!r} in {where}."
    best = found[holds]
    lines = [holds.value.format(text=text)] if holds.value else []
    lines += best[:MAX_HITS]
    if len(best) > MAX_HITS:
        lines.append("... and more lines; search for something longer or in one file.")
    return "\n".join(lines)


def _write_preview(context: ToolContext, arguments: Mapping[str, Any]) -> str:
    """All that would change: a unified diff, or a new file's content. Control characters are spelled out."""
    file, content = _writable(context, arguments["path"]), arguments["content"]
    name = context.workspace.name(file)
    if not file.exists():
        return visible(f"new file {name}\n{content}")
    held = _content(context.workspace, file)
    old = None if held is None else _decoded(held)
    if old is None:
        what = "which is not text" if held is not None else "all of it"
        return visible(f"replaces {name}, {what} ({size(file.stat().st_size)}), by\n{content}")
    lines = difflib.unified_diff(_lines(old), _lines(content), name, name)
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return visible(diff) or f"no change to {name}"


def _content(workspace: Workspace, file: Path) -> bytes | None:
    """What a file holds; None where that is too much to compare and to keep."""
    with workspace.open(file) as stream:
        held = stream.read(MAX_KEPT + 1)
    return held if len(held) <= MAX_KEPT else None


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline="\n"))  # str.splitlines would split at characters that no editor splits at


def _write_scope(context: ToolContext, arguments: Mapping[str, Any]) -> Mapping[str, str]:
    """The file that a path leads to, whatever `..` and links it is made of."""
    return {"path": context.workspace.name(_writable(context, arguments["path"]))}


@tool(effect=Effect.WRITES, asks=True, preview=_write_preview, scope=_write_scope)
def write_file(
    context: ToolContext,
    path: Annotated[str, "file, such as notes/plan.md"],
    content: Annotated[str, "the whole new content"],
) -> str:
    """Create or replace a text file when the user wants something saved in one."""
    file = _writable(context, path)
    try:
        data = content.encode()
    except UnicodeEncodeError:
        raise ToolError("The content has characters that cannot be written as UTF-8.") from None
    if len(data) > MAX_WRITTEN:
        raise ToolError(f"The content is too long: a file may have {MAX_WRITTEN:,} bytes.")
    existed = file.exists()
    held = _content(context.workspace, file) if existed else b""
    if held is None:
        raise ToolError(f"{path} has more than {size(MAX_KEPT)}, too much to be kept for undoing, so it was left.")
    kept = None
    if context.journal is not None:
        try:
            kept = context.journal.keep(file, held if existed else None, data)
        except OSError as error:
            raise ToolError(f"What {path} held could not be kept, so it was left: {error.strerror}.") from None
    try:
        context.workspace.replace(file, data)
    except ToolError:
        if context.journal is not None and kept:
            context.journal.drop(kept)  # nothing was changed
        raise
    return f"{'Replaced' if existed else 'Created'} {context.workspace.name(file)} ({size(len(data))})."


def _writable(context: ToolContext, path: str) -> Path:
    workspace = context.workspace
    if not path.strip() or path.strip(" '\"`").endswith(("/", "\\")):
        raise ToolError(f"{path or 'The empty path'} is a folder; give the path of a file.")
    file = place_for(workspace, path)
    if file.is_dir():
        raise ToolError(f"{path or 'The empty path'} is a folder; give the path of a file.")
    if file.exists() and not file.is_file():
        raise ToolError(f"{path} is not a regular file.")
    # Whoever is held to rules must not rewrite them. File systems may ignore case.
    if file.name.lower() == PROJECT_FILE or file == (workspace.root / PROJECT_FILE).resolve():
        raise ToolError(f"{path} holds the rules of this folder, which only a person may change.")
    if any(file.is_relative_to(folder.resolve()) for folder in context.closed):
        raise ToolError(f"{path} belongs to umi-local itself, whose settings and sessions only a person may change.")
    nearest = next(parent for parent in file.parents if parent.exists())
    if not nearest.is_dir():
        raise ToolError(f"{workspace.name(nearest)} is a file, so no file can be inside it.")
    return file
