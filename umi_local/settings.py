"""What a user may set once: `config.toml` in the configuration folder. Flags go before it."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from umi_local.errors import ConfigError


class Mode(StrEnum):
    """Who answers: a team of three roles, or one model that does all (the paper's baseline)."""

    MULTI = "multi"
    SINGLE = "single"


class Permissions(BaseModel):
    """Rules for calls, such as `write_file` or `write_file(path=notes/*)`; `toolbox.policy` has their form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Chat(BaseModel):
    """The terminal chat.

    `theme` is dark, light, high-contrast or 16-colours; `keys` gives actions other keys; with `reduced_motion` nothing
    slides, fades or blinks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    theme: str = "dark"
    reduced_motion: bool = False
    keys: dict[str, Annotated[str, Field(pattern=r"^[^\s,]+(,[^\s,]+)*$")]] = Field(default_factory=dict)


class Settings(BaseModel):
    """All settings with their defaults.

    `context` is in tokens and 0 means the pack's; `threads` 0 means as many as are measured to be fastest; `gpu_layers`
    is how many layers are offloaded, `auto` as many as fit; models that take more than `memory_megabytes` together with
    their caches are loaded in turn, and 0 is four fifths of the machine's memory; `temperature` 0 always takes the
    likeliest token; `snapshot_megabytes` bounds what is kept of prompts' beginnings, and 0 keeps nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pack: str = ""
    mode: Mode = Mode.MULTI
    max_steps: Annotated[int, Field(ge=1, le=100)] = 8
    max_calls: Annotated[int, Field(ge=1, le=16)] = 1
    observation_tokens: Annotated[int, Field(ge=64)] = 800
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    context: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0, le=512)] = 0
    gpu_layers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    memory_megabytes: Annotated[int, Field(ge=0)] = 0
    snapshot_megabytes: Annotated[int, Field(ge=0)] = 512
    permissions: Permissions = Permissions()
    chat: Chat = Chat()


def load_settings(path: Path) -> Settings:
    """The settings of a file; the defaults where there is none.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a key or value that does not fit.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Correct the file or move it away.") from None
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        *table, _ = map(str, first["loc"])
        tables: dict[str, type[BaseModel]] = {"permissions": Permissions, "chat": Chat}
        known = tables.get("".join(table[:1]), Settings)
        told = f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}."
        raise ConfigError(told, f"The settings there are: {', '.join(known.model_fields)}.") from None
