"""Run a program of unknown quality for a short while and get back what it printed.

What it is held to: a time on the clock, processor time, memory, the size of each file, a number of processes (where
the system counts them), an empty folder of its own as current folder, an environment without the user's variables,
and no input. Its whole process group is killed at the end, however it ended.

What this does not yet protect from: the program has the user's rights. It can use the network, read every file that
the user can read and write every file that the user can write, by absolute path. A process that starts its own
session outlives the end, within the processor time of its limits. The system administrator (root) is bound by no
number of processes and can raise the other limits. Windows knows none of the limits but the time on the clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


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


# A small Python limits itself and then becomes the program. The alternative, preexec_fn, runs between fork and exec
# and may deadlock where the parent has threads, which a parent with a model loaded has.
_LAUNCHER = """
import json, os, resource, sys
limits = json.loads(sys.argv[1])
def limit(name, value):
    kind = getattr(resource, name, None)
    if kind is None: return
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY: value = min(value, hard)
    try: resource.setrlimit(kind, (value, value))
    except (ValueError, OSError): pass
def threads():
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = dict(line.split(":", 1) for line in open("/proc/" + pid + "/status"))
        except OSError: continue
        if int(status["Uid"].split()[0]) == os.getuid(): count += int(status.get("Threads", 1))
    return count
limit("RLIMIT_CORE", 0)
limit("RLIMIT_CPU", limits["cpu_seconds"])
limit("RLIMIT_FSIZE", limits["file_bytes"])
if sys.platform == "linux": limit("RLIMIT_NPROC", threads() + limits["processes"])
limit("RLIMIT_AS", limits["memory_bytes"])
os.execv(sys.argv[2], sys.argv[2:])
"""


def run_limited(
    argv: Sequence[str],
    *,
    files: Mapping[str, str] | None = None,
    limits: Limits = Limits(),
    max_output: int = 8_000,
) -> Result:
    """Run `argv` (its first word an absolute path) in a new folder that holds `files`, and wait for its end.

    `max_output`: of stdout and stderr each, this many bytes come back, half from the start and half from the end.

    Raises:
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
        process = subprocess.Popen(
            _with_limits(argv, limits),
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=stdout,  # files, not pipes: a grandchild that keeps them open holds nobody up
            stderr=stderr,
            start_new_session=True,
        )
        timed_out = _wait(process, limits.wall_seconds)
        return Result(_ends(stdout, max_output), _ends(stderr, max_output), process.returncode, timed_out)


def _with_limits(argv: Sequence[str], limits: Limits) -> list[str]:
    if os.name != "posix":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, json.dumps(asdict(limits)), *argv]


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    # Threads set aside far more addresses than they use; with these, a few fit into the limit on addresses.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return {**kept, **threads, "HOME": folder, "TMPDIR": folder, "TEMP": folder, "TMP": folder, "LANG": "C.UTF-8"}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait, then kill the whole group. True if the time ran out."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
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
