"""Packs that the user makes of converted models: manifests in the data folder."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from umi_local import atomic
from umi_local.errors import ConfigError, UsageError
from umi_local.manifest import LocalSource, RolePack
from umi_local.packs import load_pack
from umi_local.paths import cannot_write, data_dir, private_dir
from umi_local.pull.store import locked_by_name

_ROLES = ("planner", "caller", "summarizer")
_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A GGUF of this machine, with an adapter of this machine where `adapter` names one."""

    path: Path
    context: int
    adapter: Path | None = None
    licence: str = "unknown"


def add_to_pack(name: str, model: OwnModel, roles: Iterable[str], style: str = "chat") -> Path:
    """Let `roles` of the pack `name` be played by `model`, making the pack where it is not there; gives its manifest.

    In a new pack every role is played by it until it gets another model.

    Raises:
        UsageError: the name is that of a pack that ships.
        ConfigError: the manifest that is there is wrong, or the model's file can be in none.
        StorageError: it cannot be written.
    """
    path = private_dir(data_dir() / "packs") / f"{name}.toml"
    with locked_by_name(f"pack-{name}"):  # read and written again, so another conversion has to wait
        return _added(name, path, model, roles, style)


def _added(name: str, path: Path, model: OwnModel, roles: Iterable[str], style: str) -> Path:
    import tomli_w

    fits = max(256, min(model.context or _CONTEXT, _CONTEXT))
    manifest = _known(name, path) or _new(name, style, fits)
    manifest["context"] = min(manifest["context"], fits)
    files = manifest["files"]
    entry = {"model": _file(files, model.path, "model", model.licence)}
    if model.adapter:
        entry["adapter"] = _file(files, model.adapter, "adapter", model.licence)
    playing = set(roles) or {*_ROLES, "single"}
    played = manifest["roles"]
    for role in (*_ROLES, "single"):
        if role in playing or (role != "single" and role not in played):
            played[role] = entry
    used = {file for given in played.values() for file in given.values()}
    manifest["files"] = {file: about for file, about in files.items() if file in used}
    try:
        RolePack.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        what, told = first["loc"][-1], first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{str(model.path)!r} cannot be in a pack: {what}: {told}.", "Use another file.") from None
    try:
        atomic.write(path, tomli_w.dumps(manifest).encode())
    except OSError as error:
        raise cannot_write(path, error) from error
    load_pack(name)
    return path


def check_name(name: str) -> None:
    """Raises UsageError where a pack of the user's own cannot have that name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", name) or name.endswith(".toml"):
        raise UsageError(f"A pack cannot be called {name[:80]!r}.", "Use letters, digits, dots and dashes.")
    _known(name, data_dir() / "packs" / f"{name}.toml")


def made_here(pack: RolePack) -> Path | None:
    """The manifest of a pack of this machine's own files, where that is the pack meant; None for any other."""
    path = data_dir() / "packs" / f"{pack.name}.toml"
    if {file.pack for file in pack.files.values()} != {pack.name}:  # named by the path of some manifest
        return None
    local = any(isinstance(source, LocalSource) for file in pack.files.values() for source in file.sources)
    return path if local and path.is_file() else None


def remove_pack(manifest: Path) -> None:
    """Delete the manifest of a pack of the user's own; the files that it names stay.

    Raises:
        StorageError: it cannot be deleted.
    """
    try:
        manifest.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(manifest, error) from error


def _known(name: str, path: Path) -> dict[str, Any] | None:
    if path.is_file():
        load_pack(name)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        load_pack(name)
    except ConfigError:
        return None
    raise UsageError(f"{name} is a pack that comes with umi-local.", "Choose another name with --pack.")


def _new(name: str, style: str, context: int) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Made by umi-local convert",
        "licence": "unknown",
        "style": style,
        "context": context,
        "roles": {},
        "files": {},
    }


def _file(files: dict[str, Any], path: Path, kind: str, licence: str) -> str:
    """The id of a file in the manifest; it is added where it is not there."""
    about = described(path, kind, licence)
    for name, known in files.items():
        if known["sources"] == about["sources"]:
            files[name] = about
            return str(name)
    stem = "".join(letter if letter.isalnum() else "-" for letter in path.stem).strip("-") or kind
    name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 999))) if name not in files)
    files[name] = about
    return name


def described(path: Path, kind: str, licence: str) -> Mapping[str, Any]:
    """A file of this machine as a manifest has it, with its size and sha256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    plain = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._+-") else "-" for letter in path.name
    )
    filename = plain[-128:].lstrip("-._+") or "model.gguf"
    return {
        "filename": filename,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "licence": licence,
        "kind": kind,
        "sources": [{"type": "local", "path": str(path.resolve())}],
    }
