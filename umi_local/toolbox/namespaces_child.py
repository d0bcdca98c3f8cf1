"""Make a small world of Linux namespaces and become a program in it. A script of its own, without imports of ours.

    python -I -S namespaces_child.py '{"folder": ..., "readable": [...], "bytes": N}' PROGRAM ARGUMENT...

In that world there are: the listed files and folders, read-only; a few devices; an empty memory file system of N bytes
at `folder`, which begins with a copy of what the folder holds; no network, no other processes, no capability.
Exit code: the program's; 128 + N where signal N ended it; 125 where the world could not be made.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_NEW = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # user mount pid net ipc uts
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_DETACH = 2
_MOUNT_SETATTR = 442  # the same number on every architecture
_HERE, _ALL_BELOW = -100, 0x8000
_READ_ONLY, _PLAIN = 1, 1 | 2 | 4  # with nosuid and nodev
_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38
_NOBODY = 65534
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_FAILED = 125

libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def _checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    arguments = [text.encode() for text in (source, str(target), kind)]
    _checked(libc.mount(*arguments, ctypes.c_ulong(flags), options.encode()), f"mounting {target}")


def _bind(source: str, root: Path, attributes: int) -> None:
    """Show a file or a folder of the outer world at the same place in the new one."""
    target = root / source.lstrip("/")
    if Path(source).is_symlink():  # /bin -> usr/bin
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(source).readlink())
        return
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=True)
    _mount(source, target, "", _BIND | _RECURSIVE)
    _restrict(target, attributes, _ALL_BELOW)


def _restrict(target: Path, attributes: int, depth: int = 0) -> None:
    wanted = _MountAttributes(set=attributes)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    changed = libc.syscall(_MOUNT_SETATTR, _HERE, str(target).encode(), depth, ctypes.byref(wanted), size)
    _checked(changed, f"making {target} read-only")


def _make_world(folder: str, readable: list[str], size: int) -> None:
    _mount("", Path("/"), "", _RECURSIVE | _PRIVATE)
    held = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    top = Path(folder)  # whatever is mounted here is seen by us alone
    _mount("tmpfs", top, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    root = top / "world"
    root.mkdir()
    for path in readable:
        _bind(path, root, _PLAIN)
    for device in _DEVICES:
        _bind(device, root, _READ_ONLY | _NOSUID)
    inner = root / folder.lstrip("/")
    inner.mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", inner, "tmpfs", _NOSUID | _NODEV, f"size={size},mode=700")
    for name, content in held.items():
        (inner / name).write_bytes(content)
    processes = root / "proc"
    processes.mkdir()
    with contextlib.suppress(OSError):  # not allowed inside some containers; programs get on without
        _mount("proc", processes, "proc", _NOSUID | _NODEV | _NOEXEC)
    _restrict(top, _READ_ONLY)
    os.chdir(top)
    _checked(libc.syscall(_pivot_root(), b".", b"."), "changing the root")
    _checked(libc.umount2(b".", _DETACH), "leaving the outer world")
    # A process whose root is not that of its mounts may make no user namespace, in which it could mount file systems
    # whose memory nobody counts.
    os.chroot(root.name)
    os.chdir(folder)


def _pivot_root() -> int:
    return {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}[os.uname().machine]


def _enter_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    _checked(libc.unshare(_NEW), "making namespaces")
    # Never user 0 inside: a program that is started as anyone else has lost all capabilities.
    inside = user or _NOBODY
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{inside} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group or _NOBODY} {group} 1", encoding="ascii")


def main() -> int:
    plan, program = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        _enter_namespaces()
        child = os.fork()  # the first process of the new world: when it ends, all others do
        if child:
            status = os.waitpid(child, 0)[1]
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        _make_world(plan["folder"], plan["readable"], plan["bytes"])
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        os.execv(program[0], program)
    except (OSError, KeyError) as error:
        print(f"no sandbox could be made: {error}", file=sys.stderr)
        os._exit(_FAILED)
    return _FAILED


if __name__ == "__main__":
    sys.exit(main())
