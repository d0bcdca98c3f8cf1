"""The commands that may be typed instead of a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from umi_local.errors import StorageError
from umi_local.trajectory import Trajectory
from umi_local.wire import to_markdown

COMMANDS = {
    "/new": "start a new session",
    "/sessions": "resume an earlier session",
    "/again": "ask the last question again",
    "/tools": "list the tools",
    "/export FILE": "write this session as Markdown",
    "/copy": "copy the last answer",
    "/find TEXT": "go to the next card that says it",
    "/pack": "let another pack answer",
    "/theme NAME": "dark, light, high-contrast or 16-colours",
    "/help": "keys and commands",
    "/quit": "leave",
}


def export(runs: Sequence[Trajectory], path: Path) -> None:
    """Write runs as Markdown into a new file.

    Raises:
        StorageError: the file is there already or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write("\n\n---\n\n".join(map(to_markdown, runs)) + "\n")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None
