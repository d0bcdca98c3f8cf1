"""What a measured number needs to be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from umi_local.messages import Role

if TYPE_CHECKING:
    from umi_local.setups import Setup


def provenance(wanted: Setup) -> dict[str, Any]:
    """The pack, every role's files with their SHA-256, the settings that matter and the versions.

    Raises:
        ModelMissing, ModelCorrupt: a file of the pack is not there or not what it should be.
    """
    from importlib.metadata import version

    settings, pack = wanted.settings, wanted.pack
    return {
        "pack": wanted.pack_name,
        "style": pack.style if pack else "chat",
        "examples": sorted(pack.examples if pack else Role),
        "roles": _roles(wanted),
        "mode": settings.mode.value,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "max_steps": settings.max_steps,
        "max_calls": settings.max_calls,
        "observation_tokens": settings.observation_tokens,
        "context": settings.context or (pack.context if pack else 0),
        "versions": {name: version(name) for name in ("umi-local", "llama-cpp-python", "llguidance")},
    }


def _roles(wanted: Setup) -> dict[str, dict[str, str | bool]]:
    """Of each role: its files' names and digests; a file that several roles share is read once."""
    digests: dict[Path, str] = {}
    found: dict[str, dict[str, str | bool]] = {}
    for role, spec in wanted.specs()[0].items():
        about: dict[str, str | bool] = {
            "model": Path(spec.model).name,
            "sha256": _digest(wanted, role, Path(spec.model), digests),
        }
        if spec.adapter:
            adapter = Path(spec.adapter)
            about |= {
                "adapter": adapter.name,
                "adapter_sha256": _adapter_digest(wanted, role, adapter, digests),
                "adapter_given": role in wanted.adapters,  # in place of the pack's own
            }
        found[role.value] = about
    # What a server loads cannot be hashed from here.
    for role in wanted.served_roles:
        server = wanted.servers[role]
        found[role.value] = {"model": server.model or "its first", "server": server.url}
    return found


def _digest(wanted: Setup, role: Role, path: Path, digests: dict[Path, str]) -> str:
    if role not in wanted.models and wanted.pack is not None:
        return wanted.pack.model(role).sha256
    return _of_file(path, digests)


def _adapter_digest(wanted: Setup, role: Role, path: Path, digests: dict[Path, str]) -> str:
    packed = wanted.pack.adapter(role) if wanted.pack and role not in wanted.models else None
    return packed.sha256 if packed and role not in wanted.adapters else _of_file(path, digests)


def _of_file(path: Path, digests: dict[Path, str]) -> str:
    import hashlib

    if path not in digests:
        with path.open("rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests[path]
