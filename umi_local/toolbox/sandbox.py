"""Run a program of unknown quality for a short while and get back what it printed.

What it is held to: a time on the clock, processor time, memory, the size of each file, a number of processes, an empty
folder of its own as current folder, an environment without the user's variables, and no input. Where the system can
(see `isolation`), it sees no file but the system's, this Python's and those it is given, no network and no process but
its own, and whatever it started ends with it.

Where the system cannot, the program has the user's rights: it can use the network and read and write what the user can,
and a process that starts its own session outlives the end, within the processor time of its limits. Windows knows none
of the limits but the time on the clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import IO

from umi_local.toolbox.isolation import Isolation, isolation, wrapped
from umi_local.toolbox.stopping import LOOKS_EVERY, Stopped

_LIMITS_CHILD = Path(__file__).with_name("limits_child.py")
_FOLDER_BYTES = 64_000_000  # what the program's own folder may hold in all, where it is a file system of its own
_SIGNALLED = 128
_ROOM_SECONDS, _ROOM_EVERY = 10.0, 0.1  # how long, and how often, a full machine is asked again for one more process


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. `processes`: how many, threads included, beyond those that the user has already."""

    wall_seconds: float = 15
    cpu_seconds: int = 10
    memory_bytes: int = 1 << 30
    file_bytes: int = 10_000_000
    processes: int = 32


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended. `exit_code` is minus the signal's number if a signal ended it."""

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool


def run_limited(
    argv: Sequence[str],
    *,
    files: Mapping[str, str] | None = None,
    limits: Limits = Limits(),
    max_output: int = 8_000,
    readable: Sequence[Path] = (),
    stdin: IO[bytes] | None = None,
    stop: Event | None = None,
) -> Result:
    """Run `argv` (its first word an absolute path) in a new folder that holds `files`, and wait for its end.

    `readable`: files and folders that it may read beside the system's and this Python's. `stdin`: its input.
    `max_output`: of stdout and stderr each, this many bytes come back, half from the start and half from the end.
    When `stop` is set it is ended at once.

    Raises:
        Stopped: it was ended for that.
        OSError: the program cannot be started.
    """
    with (
        # The program may have made folders that cannot be removed: litter is better than a failed run.
        tempfile.TemporaryDirectory(prefix="umi-run-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        for name, content in (files or {}).items():
            Path(folder, name).write_text(content, encoding="utf-8", newline="\n")
        kept_in = isolation()
        held = wrapped(
            kept_in, _with_limits(argv, limits, kept_in), Path(folder), [_LIMITS_CHILD, *readable], _FOLDER_BYTES
        )
        process = _started(held, folder, stdin, stdout, stderr)
        timed_out = _wait(process, limits.wall_seconds, stop)
        code = process.returncode
        if kept_in.own_processes and code > _SIGNALLED:  # told by a process in between
            code = _SIGNALLED - code
        return Result(_ends(stdout, max_output), _ends(stderr, max_output), code, timed_out)


def _started(
    argv: list[str], folder: str, stdin: IO[bytes] | None, stdout: IO[bytes], stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    last = time.monotonic() + _ROOM_SECONDS
    while True:
        try:
            return subprocess.Popen(
                argv,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=stdout,  # files, not pipes: a grandchild that keeps them open holds nobody up
                stderr=stderr,
                start_new_session=True,
            )
        except BlockingIOError:  # no process can be made: those of a fork bomb that was just killed take a while to go
            if time.monotonic() > last:
                raise
            time.sleep(_ROOM_EVERY)


def _with_limits(argv: Sequence[str], limits: Limits, kept_in: Isolation) -> list[str]:
    # A small Python limits itself and then becomes the program. The alternative, preexec_fn, runs between fork and exec
    # and may deadlock where the parent has threads, which a parent with a model loaded has.
    if os.name != "posix":
        return list(argv)
    told = json.dumps({**asdict(limits), "watch": kept_in.own_processes})
    return [sys.executable, "-I", "-S", str(_LIMITS_CHILD), told, *argv]


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    # Threads set aside far more addresses than they use; with these, a few fit into the limit on addresses.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return {**kept, **threads, "HOME": folder, "TMPDIR": folder, "TEMP": folder, "TMP": folder, "LANG": "C.UTF-8"}


def _wait(process: subprocess.Popen[bytes], seconds: float, stop: Event | None) -> bool:
    """Wait, then kill the whole group. True if the time ran out."""
    last = time.monotonic() + seconds
    try:
        while (left := last - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(left, LOOKS_EVERY))
                return False
            if stop is not None and stop.is_set():
                raise Stopped
        return True
    finally:  # also on Ctrl-C
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _ends(stream: IO[bytes], limit: int) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size <= limit:
        return stream.read().decode(errors="replace")
    head = stream.read(limit // 2).decode(errors="replace")
    stream.seek(size - limit // 2)
    return f"{head}\n[... {size - limit} bytes left out ...]\n{stream.read().decode(errors='replace')}"
