"""A question written in the person's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from umi_local.errors import UsageError


def written_in_editor(text: str) -> str:
    """What was saved in $VISUAL or $EDITOR, which begins with `text`; empty if it failed or nothing is left.

    Raises:
        UsageError: the editor cannot be started.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    with tempfile.TemporaryDirectory(prefix="umi-local-") as folder:
        file = Path(folder, "question.md")
        file.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*shlex.split(editor), str(file)], check=False)
        except (OSError, ValueError):
            raise UsageError(f"The editor {editor!r} cannot be started.", "Set EDITOR to one that can.") from None
        return file.read_text(encoding="utf-8", errors="replace").strip() if ended.returncode == 0 else ""
