"""A question written in the person's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from umi_local.errors import UmiError, UsageError


def from_editor(app: App[None], text: str) -> str:
    """What the person's own editor, which gets the terminal for so long, made of `text`; empty for nothing.

    Raises:
        UmiError: there is no editor, or it failed.
    """
    found: str | UmiError = ""
    try:
        with app.suspend():
            # Nothing may be raised in here: Textual would not come back to its screen.
            try:
                found = written_in_editor(text)
            except UmiError as error:
                found = error
    except SuspendNotSupported:
        app.notify("An editor cannot be opened here.", severity="warning")
    if isinstance(found, UmiError):
        raise found
    return found


def written_in_editor(text: str) -> str:
    """What was saved in $VISUAL or $EDITOR, which begins with `text`; empty if nothing was saved.

    Raises:
        UsageError: the editor cannot be started, or what it was to write cannot be read.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    try:
        with tempfile.TemporaryDirectory(prefix="umi-local-") as folder:
            file = Path(folder, "question.md")
            file.write_text(text, encoding="utf-8", errors="replace")
            os.utime(file, (0, 0))
            ended = subprocess.run([*shlex.split(editor), str(file)], check=False)
            saved = ended.returncode == 0 and file.stat().st_mtime > 0
            return file.read_text(encoding="utf-8", errors="replace").strip() if saved else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"The editor {editor!r} did not work: {error}.", "Set EDITOR to one that does.") from None
