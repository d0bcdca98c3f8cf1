"""What there is to know of an installation when something does not work. Holds nothing secret."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from umi_local.assemble import extensions
from umi_local.errors import UmiError
from umi_local.manifest import PackFile
from umi_local.mcp import Manager, ServerFile, trusted_names
from umi_local.packs import DEFAULT_PACK, load_pack, pack_names
from umi_local.paths import audit_file, config_dir, data_dir, servers_file, trusted_file
from umi_local.permissions import kept_rules
from umi_local.pull import bytes_to_fetch, is_recorded, missing, path_of
from umi_local.settings import load_settings
from umi_local.setups import default_pack, user_settings
from umi_local.toolbox.isolation import isolation

_PACKAGES = ("umi-local", "llama-cpp-python", "llguidance", "textual", "torch", "openai", "mcp", "uvicorn")
# What follows a word for a secret; credentials in addresses and headers; the forms of well-known services' keys; and
# whatever is long and mixes letters and digits as only generated text does.
_SECRETS = (
    re.compile(r"(?i)((?:key|token|secret|passw\w*|auth\w*|\bpat|cookie|credential\w*|[?&]code)[\"']?\s*[=:\s]\s*[\"']?)"
               r"(?!\$\{)(?:bearer\s+|basic\s+|token\s+)?[^\s\"'&]{4,}"),
    re.compile(r"(://)[^/\s@]+(?=@)"),
    re.compile(r"(?i)\b((?:bearer|basic)\s+)[^\s\"']{4,}"),
    re.compile(r"\b((?:sk|pk|rk|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[a-z]|hf|npm|pypi)[-_])[\w-]{4,}"),
    re.compile(r"\b(AKIA|ASIA|AIza)[\w-]{8,}"),
    re.compile(r"()\b(?=[\w+/]*\d)(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])[\w+/]{32,}={0,2}"),
)  # fmt: skip
_COMPILERS = ("cc", "c++", "cmake")


def examination() -> dict[str, Any]:
    """The facts as JSON, by subject. What cannot be found out says why instead."""
    found = {
        "schema_version": 1,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": _attempt(_machine),
        "llama_cpp": _attempt(_llama_cpp),
        "folders": _attempt(_folders),
        "settings": _attempt(_settings),
        "packs": _attempt(_packs),
        "safety": _attempt(_safety),
        "mcp_servers": _attempt(_servers),
        "tools_left_out": _attempt(_left_out),
    }
    return {subject: _cleaned(facts) for subject, facts in found.items()}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    from umi_local.backends.llama_cpp.memory import available_memory, total_memory

    total = total_memory()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "memory_bytes": None if total == sys.maxsize else total,
        "available_bytes": available_memory() or None,
        "compilers": {name: bool(shutil.which(name)) for name in _COMPILERS},
    }


def _llama_cpp() -> dict[str, Any]:
    from umi_local.backends.llama_cpp.build import installed_build

    build = installed_build()
    return {
        "version": build.version,
        "features": list(build.features),
        "gpu": any(device.is_gpu for device in build.devices),
        "devices": [asdict(device) for device in build.devices],
    }


def _folders() -> dict[str, Any]:
    data = data_dir()
    return {"data": str(data), "config": str(config_dir()), "free_bytes": shutil.disk_usage(data).free}


def _settings() -> dict[str, Any]:
    """Each setting's value and whether it is the user's own."""
    path = config_dir() / "config.toml"
    chosen = load_settings(path)
    values = {
        name: {"value": value, "from": "config.toml" if name in chosen.model_fields_set else "default"}
        for name, value in chosen.model_dump(mode="json").items()
    }
    return {"file": str(path) if path.is_file() else None, "values": values}


def _packs() -> dict[str, Any]:
    default = DEFAULT_PACK
    with suppress(UmiError):  # what is wrong with the settings stands where they do
        default = default_pack(user_settings())
    return {name: _attempt(lambda name=name: _pack(name, default)) for name in pack_names()}


def _pack(name: str, default: str) -> dict[str, Any]:
    pack = load_pack(name)
    files = {file.filename: _state(file) for file in pack.files.values()}
    return {"default": name == default, "files": files}


def _state(file: PackFile) -> str:
    if missing(file):
        return f"not here, {bytes_to_fetch(file) / 1e6:,.0f} MB to fetch"
    if (file.shipped and not file.is_local) or is_recorded(path_of(file), file):
        return "here and checked"
    return "here, but changed or not checked since"


def _safety() -> dict[str, Any]:
    """What code and tables are kept in, which rules hold everywhere, and where one is taken back."""
    permissions = load_settings(config_dir() / "config.toml").permissions
    return {
        "sandbox": isolation().value,
        "rules": {ruling: len(rules) for ruling, rules in permissions.model_dump().items()},
        "always_allowed": [str(rule) for rule in kept_rules()],
        "taken_back_with": "umi-local tools revoke",
        "decisions_kept": audit_file().read_bytes().count(b"\n") if audit_file().is_file() else 0,
    }


def _servers() -> dict[str, Any]:
    """Where each server is, how many of its tools are trusted, and whether it answers. No variable's value is told."""
    file, pins = ServerFile(servers_file()), trusted_file()
    servers, trusted, manager = file.read(), trusted_names(pins), Manager(file)

    def state(name: str) -> str:
        return "off" if servers[name].disabled else manager.state(name, pins)

    pool = ThreadPoolExecutor(len(servers) or 1)  # side by side, since one that hangs takes up to forty seconds
    try:
        states = dict(zip(servers, pool.map(state, servers), strict=True))
    finally:
        pool.shutdown(wait=False)
        manager.close()
    return {
        name: {
            "at": server.where,
            "variables": sorted(server.env),
            "on": not server.disabled,
            "state": states[name],
            "trusted_tools": len(trusted.get(name, ())),
        }
        for name, server in servers.items()
    }


def _left_out() -> list[str]:
    return list(extensions().problems)


def without_secrets(text: str) -> str:
    """A text fit for a bug report: what looks like a key is blotted out, the home folder is called ~."""
    for secret in _SECRETS:
        text = secret.sub(lambda found: f"{found[1]}[removed]", text)
    home = str(Path.home())
    return re.sub(rf"(?<![\w/]){re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text


def _cleaned(value: Any) -> Any:
    """Facts with every text in them as `without_secrets` leaves it."""
    match value:
        case str():
            return without_secrets(value)
        case dict():
            return {key: _cleaned(held) for key, held in value.items()}
        case list() | tuple():
            return [_cleaned(held) for held in value]
    return value


def _attempt(find: Any) -> Any:
    """What `find` finds, or its error as a sentence: one broken part must not hide the others, whatever broke it."""
    try:
        return find()
    except UmiError as error:
        return {"problem": str(error)}
    except Exception as error:  # who runs doctor has something broken, and nobody knows what
        return {"problem": f"{type(error).__name__}: {error}"}
