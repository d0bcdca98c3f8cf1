"""What keeps a program away from the user's files, network and processes: as much as this system has.

Linux: bubblewrap where it is installed (on some systems the only one that may), else namespaces of our own making.
macOS: Seatbelt through `sandbox-exec`. Elsewhere, and where the administrator forbids all of these: nothing, and the
person who approves is told so before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_OF_PYTHON = ("bin", "lib", "lib64", "include", "pyvenv.cfg", "Frameworks", "Python", "Resources")
_TRIAL_SECONDS = 10
_SEATBELT = """(version 1)
(deny default)
(allow process-fork) (allow process-exec) (allow signal (target same-sandbox)) (allow sysctl-read)
(allow file-read-metadata)
(allow file-read* {readable})
(allow file-read* file-write* (subpath {folder}))
(allow file-write-data (literal "/dev/null"))
"""


class Isolation(StrEnum):
    """What a program is kept in."""

    BUBBLEWRAP = "bubblewrap"
    NAMESPACES = "namespaces"
    SEATBELT = "seatbelt"
    NONE = "none"

    @property
    def own_processes(self) -> bool:
        """Whether the program sees, and takes with it when it ends, only processes of its own."""
        return self in (Isolation.BUBBLEWRAP, Isolation.NAMESPACES)


def isolation() -> Isolation:
    """The best that works here, found by trying."""
    return next(iter(available()), Isolation.NONE)


@cache
def available() -> tuple[Isolation, ...]:
    """All that work here, the best first."""
    return tuple(kind for kind in _candidates() if _works(kind))


def wrapped(
    kind: Isolation, argv: Sequence[str], folder: Path, readable: Sequence[Path], folder_bytes: int
) -> list[str]:
    """`argv` inside this isolation: it may write in `folder` and read the system, this Python and `readable`."""
    shown = _shown(readable)
    match kind:
        case Isolation.NAMESPACES:
            plan = {"folder": str(folder), "readable": shown, "bytes": folder_bytes}
            child = str(Path(__file__).with_name("namespaces_child.py"))
            return [sys.executable, "-I", "-S", child, json.dumps(plan), *argv]
        case Isolation.BUBBLEWRAP:
            return [*_bubblewrap(shown, folder, folder_bytes), *argv]
        case Isolation.SEATBELT:
            listed = " ".join(f"(subpath {json.dumps(path)})" for path in [*shown, "/System", "/Library", "/dev"])
            profile = _SEATBELT.format(readable=listed, folder=json.dumps(str(folder.resolve())))
            return ["/usr/bin/sandbox-exec", "-p", profile, *argv]
        case Isolation.NONE:
            return list(argv)


def _candidates() -> list[Isolation]:
    if sys.platform == "linux":
        found = [Isolation.BUBBLEWRAP] if shutil.which("bwrap") else []
        return [*found, Isolation.NAMESPACES]
    if sys.platform == "darwin" and Path("/usr/bin/sandbox-exec").exists():
        return [Isolation.SEATBELT]
    return []


def _works(kind: Isolation) -> bool:
    with tempfile.TemporaryDirectory(prefix="umi-trial-") as folder:
        # Without its own view of the processes nothing counts what a program starts and takes.
        trial = "open('/proc/self/status')" if kind.own_processes else ""
        argv = wrapped(kind, [sys.executable, "-I", "-S", "-c", trial], Path(folder).resolve(), (), 1_000_000)
        try:
            tried = subprocess.run(argv, capture_output=True, timeout=_TRIAL_SECONDS, cwd=folder, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return tried.returncode == 0


def _shown(readable: Sequence[Path]) -> list[str]:
    """The places that a program may read: none of them twice, and none that does not exist."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parent.parent)}
    # Of each only what is Python's: a prefix such as ~/.local holds keyrings and sessions as well.
    python = [f"{prefix}/{part}" for prefix in sorted(prefixes, key=len) for part in _OF_PYTHON]
    wanted = [*_SYSTEM, *python, *_hops(Path(sys.executable)), *_SYSTEM_FILES, *map(str, readable)]
    shown: list[str] = []
    for path in wanted:
        if os.path.lexists(path) and path != "/" and not any(Path(path).is_relative_to(held) for held in shown):
            shown.append(path)
    return shown


def _hops(path: Path) -> list[str]:
    """The links, one leading to the next, by which a virtual environment names the Python that it was made with."""
    hops: list[str] = []
    while path.is_symlink() and str(path) not in hops:
        hops.append(str(path))
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return [*hops, str(path)]


def _bubblewrap(shown: Sequence[str], folder: Path, folder_bytes: int) -> list[str]:
    # The program is the first process of its namespace, and in our process group: it counts all others there, and they
    # end when it does.
    argv = ["bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL"]
    # In user namespaces of its own it could mount file systems whose memory nobody counts. A bubblewrap before 0.8.0
    # knows no such option and so is none that works here.
    argv += ["--unshare-user", "--disable-userns"]
    for path in shown:
        argv += (
            ["--symlink", str(Path(path).readlink()), path] if Path(path).is_symlink() else ["--ro-bind", path, path]
        )
    argv += ["--dev", "/dev", "--proc", "/proc", "--size", str(folder_bytes), "--tmpfs", str(folder)]
    for held in sorted(folder.iterdir()):
        argv += ["--ro-bind", str(held), str(held)]
    # What bubblewrap made for itself on the way would take files, too.
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(folder)]
