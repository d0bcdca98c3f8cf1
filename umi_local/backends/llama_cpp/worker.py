"""Long work of llama.cpp in a process of its own, which may abort on a file that it does not like."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence

from umi_local.errors import ModelFailed, OutOfMemory

_KILLED = -9
_LAST_WORDS = 20  # lines of what a process said that are kept


def lines_of(what: str, module: str, *arguments: object, told_on_stderr: bool = False) -> Iterator[bytes]:
    """What a module of this package writes to its output, line by line; it ends with who waits for it.

    Args:
        what: the beginning of the sentence that says what went wrong.
        told_on_stderr: the lines are those of llama.cpp's own log, and the output is nobody's.

    Raises:
        ModelFailed: it failed, with its last words.
        OutOfMemory: it was killed for the memory it took.
    """
    argv = argv_of(module, *arguments)
    said: deque[bytes] = deque(maxlen=_LAST_WORDS)
    with tempfile.TemporaryFile() as apart:
        out, err = (subprocess.DEVNULL, subprocess.PIPE) if told_on_stderr else (subprocess.PIPE, apart)
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err) as child:
            lines = child.stderr if told_on_stderr else child.stdout
            assert lines is not None
            try:
                for line in lines:
                    said.append(line)
                    yield line
                child.wait()
            except BaseException:  # also Ctrl-C: nothing goes on for which nobody waits
                child.kill()
                raise
        if not told_on_stderr:
            apart.seek(0)
            said.extend(apart)
    if child.returncode == _KILLED:
        raise OutOfMemory(
            f"{what}: the process was killed, most likely for the memory it took.",
            "Close other programs and try again.",
        )
    if child.returncode:
        raise ModelFailed(f"{what}: {_reason(list(said)) or f'code {child.returncode}'}.")


def argv_of(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-P", "-m", f"umi_local.backends.llama_cpp.{module}", *map(str, arguments)]


def _reason(said: Sequence[bytes]) -> str:
    """The last line that says what failed, else the last of all."""
    lines = [line.decode(errors="replace").strip() for line in said]
    return next((line for line in reversed(lines) if "failed" in line), next(filter(None, reversed(lines)), ""))
