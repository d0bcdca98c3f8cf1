"""Set limits, then run a program under them. Runs as a script of its own, without imports of ours.

    python -I -S limits_child.py '{"cpu_seconds": ..., ..., "watch": true}' PROGRAM ARGUMENT...

With `watch` it stays as the first process of its own process namespace, counts all processes there and what they take
together, and ends them all when that is too much: what a limit for each process alone does not bound.
Exit code: the program's; 128 + N where signal N ended it and `watch` is on; 1 where the watch ended it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

_PROCESSES = Path("/proc")
_CAPABILITIES = 64
_DROP_FROM_BOUND, _NO_NEW_PRIVILEGES = 24, 38  # of prctl
_NICE = 5
_EVERY = 0.05  # seconds between two counts
_OPEN_FILES = 128


def _limit(name: str, value: int) -> None:
    import resource

    kind = getattr(resource, name, None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS knows some limits and refuses them
        resource.setrlimit(kind, (value, value))


def _numbers() -> list[Path]:
    return list(_PROCESSES.glob("[0-9]*"))


def _threads_of_user() -> int:
    """How many threads the user has already, since the system counts the new ones on top of them."""
    count = 0
    for number in _numbers():
        try:
            status = dict(line.split(":", 1) for line in (number / "status").read_text(errors="replace").splitlines())
        except OSError:
            continue
        if int(status["Uid"].split()[0]) == os.getuid():
            count += int(status.get("Threads", 1))
    return count


def _drop_capabilities() -> None:
    """Leave a program of root without root's powers, above all that to mount: what lies under a mount in the program's
    folder would be removed with the folder. For other users there is nothing to drop."""
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in range(_CAPABILITIES):
        libc.prctl(_DROP_FROM_BOUND, capability, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _set_limits(limits: dict[str, int]) -> None:
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_CPU", limits["cpu_seconds"])
    _limit("RLIMIT_FSIZE", limits["file_bytes"])
    if sys.platform == "linux" and (_PROCESSES / "self").is_dir():
        _limit("RLIMIT_NPROC", _threads_of_user() + limits["processes"])
    _limit("RLIMIT_AS", limits["memory_bytes"])
    _limit("RLIMIT_NOFILE", _OPEN_FILES)


def _excess(limits: dict[str, int]) -> str:
    """What the processes of this namespace have too much of, as a sentence; empty if nothing."""
    others = [number for number in _numbers() if number.name != "1"]
    if len(others) > limits["processes"]:
        return f"ProcessError: at most {limits['processes']} processes may run at once"
    if sum(map(_memory_of, others)) + _files_in_memory(others) + _segments() > limits["memory_bytes"]:
        return "MemoryError: the processes together took too much"
    return ""


def _memory_of(number: Path) -> int:
    """A process's own bytes and those that it shares by intent; files it has mapped cost nothing."""
    try:
        lines = (number / "status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _files_in_memory(numbers: list[Path]) -> int:
    """The bytes of files that have no name on any disk (memfd_create), whether or not they are mapped."""
    found = {}
    for number in numbers:
        with contextlib.suppress(OSError):
            for link in (number / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()).startswith("/memfd:"):
                        status = link.stat()
                        found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def _segments() -> int:
    """The bytes of System V's shared memory, which lives on when nobody has it mapped."""
    try:
        names, *rows = [line.split() for line in (_PROCESSES / "sysvipc/shm").read_text().splitlines()]
        return sum(int(row[names.index("rss")]) for row in rows)
    except (OSError, ValueError, IndexError):
        return 0


def _watch(child: int, limits: dict[str, int]) -> int:
    counted = (_PROCESSES / "self").is_dir()
    while True:
        # Whatever loses its parent here becomes ours and is collected, too.
        ended, status = os.waitpid(-1, os.WNOHANG if counted else 0)
        if ended == child:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if ended:
            continue
        excess = _excess(limits)
        if excess:
            print(excess, file=sys.stderr, flush=True)
            return 1  # and with the first process all others end
        time.sleep(_EVERY)


def main() -> int:
    limits, program = json.loads(sys.argv[1]), sys.argv[2:]
    child = os.fork() if limits["watch"] else 0
    if child:
        return _watch(child, limits)
    if limits["watch"]:
        os.nice(_NICE)  # the watch, and the person's own programs, come first also under a fork bomb
    _set_limits(limits)
    _drop_capabilities()
    try:
        os.execv(program[0], program)
    except OSError as error:
        print(f"{program[0]} cannot be started: {error.strerror}", file=sys.stderr)
        os._exit(127)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
