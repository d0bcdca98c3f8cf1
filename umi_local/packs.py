"""Role packs: which model file and adapter plays each role, and where those files come from.

A pack is one TOML file. Those shipped are the data of `umi_local.models`; a user's own lie in `packs` inside the data
folder and go before a shipped one of the same name. Nothing here touches the network or a model file: see `pull`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib.resources import files as resources
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from umi_local.errors import ConfigError
from umi_local.manifest import Origin, RolePack, known_keys
from umi_local.paths import data_dir

DEFAULT_PACK = "qwen2.5-coder-0.5b"


def load_pack(reference: str | Path) -> RolePack:
    """The pack of that name, or the manifest at that path (it has a slash or ends in `.toml`).

    Raises:
        ConfigError: there is no such pack, or its manifest is wrong.
    """
    path = _manifest_path(str(reference))
    pack = _validated(path, Origin(str(reference), path.parent))
    if pack.name != reference and not _is_path(str(reference)):
        raise ConfigError(
            f"{path} calls its pack {pack.name}.", f"Change `name` to {reference}, as the file is called."
        )
    return pack


def pack_names() -> tuple[str, ...]:
    """Every pack that `load_pack` knows by name, in order of name."""
    return tuple(sorted(_manifests()))


def _is_path(reference: str) -> bool:
    return "/" in reference or "\\" in reference or reference.endswith(".toml")


def _manifests() -> Mapping[str, Path]:
    folders = (Path(str(resources("umi_local.models"))), data_dir() / "packs")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def _manifest_path(reference: str) -> Path:
    if _is_path(reference):
        try:
            return Path(reference).expanduser()
        except RuntimeError:  # ~SOMEBODY
            raise ConfigError(f"There is no home folder for {reference!r}.", "Check the path.") from None
    known = _manifests()
    if reference in known:
        return known[reference]
    close = difflib.get_close_matches(reference, known, n=1)
    raise ConfigError(
        f"There is no pack {reference!r}." + (f" Did you mean {close[0]}?" if close else ""),
        f"Known: {', '.join(sorted(known))}. A manifest of your own is named by its path.",
    )


def _validated(path: Path, origin: Origin) -> RolePack:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The pack manifest {path} cannot be read: {error.strerror}.", "Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct the file.") from None
    except ValueError:  # a NUL in it
        raise ConfigError(f"{str(path)!r} is no path of a pack manifest.", "Check the path.") from None
    try:
        return RolePack.model_validate(data, context=origin)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A misspelt key is also a missing one; the misspelling is what to show.
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        raise _config_error(path, (unknown or details)[0]) from None


def _config_error(path: Path, error: ErrorDetails) -> ConfigError:
    place = error["loc"]
    # Behind a source's number comes the kind of source that it is read as, which is no key of the user's file.
    keys = [str(key) for i, key in enumerate(place) if i < 2 or place[i - 2] != "sources"]
    where = f"{path}: {'.'.join(keys)}" if keys else f"{path}:"
    match error["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(keys[-1], known_keys(), n=1)
            return ConfigError(
                f"{where} is no key of a manifest.", f"Did you mean {close[0]}?" if close else "Remove it."
            )
        case "missing" | "union_tag_not_found":
            return ConfigError(
                f"{where} {'is' if error['type'] == 'missing' else 'has a type that is'} missing.", "Add it."
            )
        case "union_tag_invalid":
            words = f"has a type that is none of {error['ctx']['expected_tags']}"
        case "value_error":
            words = str(error["ctx"]["error"])
        case _:
            words = error["msg"].replace("Input should be", "must be")
    given = error["input"]
    shown = f", not {str(given)[:40]!r}" if isinstance(given, str | int | float) else ""
    return ConfigError(f"{where} {words}{shown}.", "Correct it in the manifest.")
