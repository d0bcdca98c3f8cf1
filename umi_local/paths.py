"""Where umi-local keeps its things. `UMI_LOCAL_HOME` puts all of it in one folder; else each system's own place."""

from __future__ import annotations

import os
from pathlib import Path

from umi_local.errors import StorageError

HOME_VARIABLE = "UMI_LOCAL_HOME"


def data_dir() -> Path:
    """The folder of models, user packs and sessions; created, for the user alone, where it is not there.

    Raises:
        StorageError: it cannot be created.
    """
    home = _home()
    if home is None:
        from platformdirs import user_data_path

        home = user_data_path("umi-local", appauthor=False)
    return private_dir(home)


def models_dir() -> Path:
    """The folder of pulled model files, inside `data_dir`.

    Raises:
        StorageError: it cannot be created.
    """
    return private_dir(data_dir() / "models")


def snapshots_dir() -> Path:
    """Where the read beginnings of prompts are kept. Raises what `data_dir` does."""
    return data_dir() / "snapshots"


def threads_file() -> Path:
    """Where measured thread counts are kept. Raises what `data_dir` does."""
    return data_dir() / "threads.json"


def journals_dir() -> Path:
    """Where files are kept as they were before tools changed them. Raises what `data_dir` does."""
    return data_dir() / "journals"


def audit_file() -> Path:
    """Where every decision on a call is kept. Raises what `data_dir` does."""
    return data_dir() / "audit.jsonl"


def servers_file() -> Path:
    """Where MCP servers are described. Raises what `config_dir` does."""
    return config_dir() / "mcp.json"


def trusted_file() -> Path:
    """Where is kept what MCP servers offered when they were trusted. Raises what `data_dir` does."""
    return data_dir() / "mcp-trusted.json"


def notes_file() -> Path:
    """Where `add_note` writes. Raises what `data_dir` does."""
    return data_dir() / "notes.md"


def config_dir() -> Path:
    """The folder of settings; `config` inside `UMI_LOCAL_HOME` where that is set.

    Raises:
        StorageError: it cannot be created.
    """
    home = _home()
    if home is not None:
        return private_dir(private_dir(home) / "config")
    from platformdirs import user_config_path

    return private_dir(user_config_path("umi-local", appauthor=False))


def is_file(path: Path) -> bool:
    """Whether a file is there that may be looked at. (`Path.is_file` raises where its folder is closed to us.)"""
    try:
        return path.is_file()
    except OSError:
        return False


def private_dir(path: Path) -> Path:
    """`path` as a folder with mode 0700; one that is already there keeps its mode.

    Raises:
        StorageError: it cannot be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The sentence for a folder or file of ours that the system refuses to write."""
    reason = error.strerror or type(error).__name__
    return StorageError(
        f"{path} cannot be written: {reason}.", f"Set {HOME_VARIABLE} to a folder that you can write to."
    )


def _home() -> Path | None:
    value = os.environ.get(HOME_VARIABLE, "").strip()
    if not value:
        return None
    try:
        return Path(value).expanduser().absolute()
    except (OSError, RuntimeError):
        raise StorageError(
            f"{HOME_VARIABLE} is {value!r}, which is not a usable folder.", "Set it to an absolute path."
        ) from None
