"""A training recipe as validated values: which data, in what shares, and how each stage learns."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from umi_local.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
StageName = Literal["global", "role", "planner", "caller", "summarizer", "multitask"]

RECIPES = "umi_local.training.recipes"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Data):
    """Records of one source. `file` is relative to the data folder; without one they are made (everyday runs).

    `count` records are drawn by the recipe's seed, none of the last `hold_back`. With `calls` only records that call
    a tool are drawn, with `several` only those that call more than once, with `alone` only those with one call and
    nothing said before. `observed` makes a result for each call that has none, and a share of `joined` requests is put
    together with others of the part. `spoken` is the share whose trunks tell rationales in words of other agents.
    The other shares say how many are changed, of those that can be (`variation`), and `distractors` how many tools are
    added to those that do not get `fewer`. Of the runs that are made, a share of `partial` lists only some of the tools
    (each list is one more beginning to read), and `families` are drawn more or less often than by themselves.
    """

    file: str = ""
    count: Count
    hold_back: Annotated[int, Field(ge=0)] = 0
    calls: bool = False
    several: bool = False
    alone: bool = False
    observed: bool = False
    joined: Share = 0
    rename: Share = 0
    mask: Share = 0
    impossible: Share = 0
    failing: Share = 0
    detour: Share = 0
    fewer: Share = 0
    spoken: Share = 0
    distractors: tuple[int, int] = (0, 0)
    partial: Share = 0.2
    families: Mapping[str, Annotated[float, Field(ge=0)]] = {}


class Adapter(_Data):
    """The shape of each role's adapter: rank, scale `alpha` / `rank`, and the projections it acts on."""

    rank: Count = 8
    alpha: Count = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Stage(_Data):
    """How a stage learns. `batch` is in samples per optimizer step, `warmup` a share of the stage; cosine after it."""

    epochs: Annotated[float, Field(gt=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0
    batch: Count = 16


class Recipe(_Data):
    """`longest` and `row_tokens` are in tokens: of one sample, and of a packed row."""

    pack: str
    seed: int = 1
    longest: Count = 2048
    row_tokens: Count = 1024
    held_out: Share = 0.02
    adapter: Adapter = Adapter()
    stages: Mapping[StageName, Stage]
    parts: Mapping[str, Part]

    @field_validator("parts")
    @classmethod
    def _made_by_name(cls, parts: Mapping[str, Part]) -> Mapping[str, Part]:
        for name, part in parts.items():
            if not part.file and not name.startswith("everyday"):
                raise ValueError(f"{name} names no file; a part whose runs are made is called everyday")
        return parts

    def stage(self, name: str) -> Stage:
        """How a stage learns: `global`, `multitask` or the one of a role; without an entry it is as `role` says."""
        for known, stage in self.stages.items():
            if known == name:
                return stage
        if name == "global" or "role" not in self.stages:
            missing = "global" if name == "global" else "role"
            raise ConfigError(f"The recipe does not say how {name} learns.", f"Add [stages.{missing}] to it.")
        return self.stages["role"]


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or one from a file.

    Raises:
        ConfigError: there is none, or it says something that recipes do not.
    """
    path = Path(name)
    shipped = files(RECIPES).joinpath(f"{name}.toml")
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else shipped.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        known = sorted(entry.name.removesuffix(".toml") for entry in files(RECIPES).iterdir() if ".toml" in entry.name)
        raise ConfigError(f"There is no recipe {name}.", f"Name a file, or one of: {', '.join(known)}.") from None
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The recipe {name} is not TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"The recipe {name} says {where}, which no recipe has.", "Leave it out.") from None
        why = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"The recipe {name} is not valid: {where}: {why[:1].lower()}{why[1:]}.") from None
