"""A whole repository of Hugging Face's hub, as far as a conversion needs it: JSON, tokenizer and safetensors.

`HF_ENDPOINT` and `HF_HUB_OFFLINE` hold as for single files. Files that the hub keeps in its large store are checked by
their sha256, the others by git's own hash. Source: https://huggingface.co/docs/hub/api
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umi_local.errors import ModelCorrupt, ModelMissing, UsageError
from umi_local.manifest import HuggingFaceSource, PackFile
from umi_local.paths import cannot_write, models_dir, private_dir
from umi_local.pull import huggingface
from umi_local.pull.part import Part, SourceFailed
from umi_local.pull.progress import OnProgress, Progress, Stage
from umi_local.pull.store import locked_by_name

_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.(json|safetensors|jinja)|tokenizer\.model")
_MAX_FILES = 10_000
_FORM = re.compile(r"hf:(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[A-Za-z0-9][\w.+-]{0,127}))?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as OWNER/NAME at a revision: a branch, a tag or a commit."""

    name: str
    revision: str = "main"

    @classmethod
    def named(cls, text: str) -> Repository:
        """`hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`.

        Raises:
            UsageError: it is neither.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise UsageError(f"{text[:120]!r} names no repository.", "Write hf:OWNER/NAME or hf:OWNER/NAME@REVISION.")
        return cls(found["name"], found["revision"] or "main")


@dataclass(frozen=True, slots=True)
class _Listed:
    path: str
    bytes: int
    sha256: str
    blob: str


def fetch(repository: Repository, on_progress: OnProgress) -> tuple[Path, str]:
    """The folder with its files, and the commit that they are of. What is there already is not fetched again.

    Raises:
        ModelMissing: it cannot be reached, or there is no such repository. What was fetched is kept.
        ModelCorrupt: the hub gave other bytes than it promised.
        StorageError: the data folder cannot be written.
    """
    try:
        commit, files = _listing(repository)
        name = f"{repository.name.replace('/', '--')}@{commit}"
        folder = private_dir(models_dir() / "checkpoints" / name)
        with locked_by_name(name, lambda: on_progress(Progress(repository.name, Stage.WAITING, 0, 1))):
            weights = [file for file in files if file.path.endswith(".safetensors")]
            for file in (file for file in files if file not in weights):
                _fetch(repository, commit, file, folder, on_progress)
            for file in _needed(weights, folder):
                _fetch(repository, commit, file, folder, on_progress)
    except SourceFailed as failure:
        raise ModelMissing(
            f"{repository.name} could not be fetched: {failure}.",
            "Fetch it where a network is, and give its folder: umi-local convert FOLDER",
        ) from None
    return folder, commit


def _listing(repository: Repository) -> tuple[str, list[_Listed]]:
    found = huggingface.about(repository.name, repository.revision)
    commit, siblings = found.get("sha"), found.get("siblings")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit) or not isinstance(siblings, list):
        raise SourceFailed("the hub's answer lists no files")
    files = list(_wanted(siblings))
    if not any(file.path.endswith(".safetensors") for file in files):
        pickles = any(str(entry.get("rfilename", "")).endswith((".bin", ".pt", ".pth")) for entry in siblings)
        what = "only pickles, which can run code when they are opened" if pickles else "no safetensors file"
        raise UsageError(f"{repository.name} has {what}.", "Convert a copy that was saved as safetensors.")
    return commit, files


def _needed(weights: list[_Listed], folder: Path) -> list[_Listed]:
    """Those that the index names or that are called as a model's are: some repositories hold the same twice."""
    try:
        named = set(json.loads((folder / "model.safetensors.index.json").read_bytes())["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        named = {file.path for file in weights if file.path.startswith("model")}
    return [file for file in weights if file.path in named or file.path.startswith("adapter")] or weights


def _wanted(siblings: list[Any]) -> Iterator[_Listed]:
    if len(siblings) > _MAX_FILES:
        raise SourceFailed(f"it holds {len(siblings):,} files, more than {_MAX_FILES}")
    for entry in siblings:
        name, size = str(entry.get("rfilename", "")), entry.get("size")
        if _WANTED.fullmatch(name) and isinstance(size, int) and size > 0:
            large: Mapping[str, Any] = entry.get("lfs") or {}
            yield _Listed(name, size, str(large.get("sha256", "")), str(entry.get("blobId", "")))


def _fetch(repository: Repository, commit: str, file: _Listed, folder: Path, on_progress: OnProgress) -> None:
    path = folder / file.path
    if path.is_file() and path.stat().st_size == file.bytes:
        return
    source = HuggingFaceSource(type="huggingface", repo=repository.name, revision=commit, path=file.path)
    # Only the size is used of this: what a file must be is checked below, by whichever hash the hub gives.
    wanted = PackFile(
        filename=file.path, bytes=file.bytes, sha256="0" * 64, licence="unknown", kind="model", sources=(source,)
    )
    draft = path.with_name(f"{path.name}.part")
    with Part(draft, wanted) as part:
        part.require_space()

        def watch(done: int) -> None:
            on_progress(Progress(file.path, Stage.FETCHING, done, file.bytes))

        if part.missing:
            huggingface.fill(source, part, watch)
        part.sync()
    try:
        if not _is(draft, file):
            draft.unlink()
            raise ModelCorrupt(f"The hub gave other bytes for {file.path} than it promised.", "Run the command again.")
        draft.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _is(path: Path, file: _Listed) -> bool:
    digest: Any = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(b"blob %d\0" % file.bytes)
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return bool(digest.hexdigest() == (file.sha256 or file.blob))
