"""Long work of llama.cpp in a process of its own, which may abort on a file that it does not like."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from umi_local.errors import ModelFailed, OutOfMemory

_KILLED = -9


def argv_of(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-P", "-m", f"umi_local.backends.llama_cpp.{module}", *map(str, arguments)]


def lines_of(what: str, module: str, *arguments: str | Path) -> Iterator[bytes]:
    """What a module of this package writes to its output, line by line; it ends with who waits for it.

    Args:
        what: the beginning of the sentence that says what went wrong.

    Raises:
        ModelFailed: it failed, with its last words.
        OutOfMemory: it was killed for the memory it took.
    """
    with (
        tempfile.TemporaryFile() as said_to,
        subprocess.Popen(
            argv_of(module, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said_to
        ) as child,
    ):
        assert child.stdout is not None
        try:
            yield from child.stdout
            child.wait()
        except BaseException:  # also Ctrl-C: nothing goes on for which nobody waits
            child.kill()
            raise
        said_to.seek(0)
        said = said_to.read().decode(errors="replace").strip()
    if child.returncode == _KILLED:
        raise killed(what)
    if child.returncode:
        reason = said.splitlines()[-1] if said else f"code {child.returncode}"
        raise ModelFailed(f"{what}: {reason}.")


def killed(what: str) -> OutOfMemory:
    return OutOfMemory(
        f"{what}: the process was killed, most likely for the memory it took.", "Close other programs and try again."
    )
