"""The paper's comparison, on one backbone: `python tests/measure/four_ways.py DATA OUT [--recipe R] [--ways W,W]`.

Four ways see the same samples for the same number of epochs, which are those of the recipe's two stages together:

    single      one adapter for whole steps, all epochs in one stage
    one-stage   an adapter per role, each from nothing, all epochs in one stage
    multi-task  one adapter that plays all three roles, all epochs in one stage
    two-stage   whole steps first, then an adapter per role from there: alpha-UMi's way

What learns from nothing learns as the recipe's global stage says. The pack is the recipe's without worked runs, which
would be most of what is read, and each adapter starts from the plain backbone. Each way is measured on ToolBench and on
the everyday tasks of `tests/everyday`. What is done already is not done again, so the same command goes on after a
kill.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from umi_local.manifest import RolePack
from umi_local.packs import load_pack
from umi_local.training.recipe import load_recipe

EVERYDAY = Path(__file__).resolve().parent.parent / "everyday"
TEAM = ("planner", "caller", "summarizer")


@dataclass(frozen=True)
class Way:
    """One way to train: the commands of `umi-local train`, each with the adapter it ends with, and who plays whom."""

    name: str
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    roles: Mapping[str, str]
    long: str = ""  # the stage that takes all epochs


OWN = {role: role for role in TEAM}
WAYS = (
    Way("two-stage", (("single", ("global",)), ("planner", ("role",))), OWN),
    Way("single", (("single", ("global",)),), {"single": "single"}, "global"),
    Way("multi-task", (("multitask", ("multitask",)),), dict.fromkeys(TEAM, "multitask"), "multitask"),
    Way("one-stage", (("planner", ("role", "--scratch")),), OWN, "role"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="compare-135m")
    parser.add_argument("--limit", default="24", help="conversations of ToolBench")
    parser.add_argument("--ways", default=",".join(way.name for way in WAYS), help="only these")
    wanted = parser.parse_args()
    known = {way.name: way for way in WAYS}
    if unknown := set(wanted.ways.split(",")) - known.keys():
        parser.error(f"there is no way {min(unknown)!r}; there are {', '.join(known)}")
    ways = [known[name] for name in wanted.ways.split(",")]
    samples, pack, recipe = (wanted.out / name for name in ("samples", "pack.toml", "recipe.toml"))
    if not (samples / "data.json").is_file():
        known = load_recipe(wanted.recipe)
        wanted.out.mkdir(parents=True, exist_ok=True)
        pack.write_text(tomli_w.dumps(plain(load_pack(known.pack))))
        recipe.write_text(tomli_w.dumps(known.model_dump(mode="json") | {"pack": str(pack.resolve())}))
        umi_local("train", "data", "--run", samples, "--recipe", recipe, "--data", wanted.data)
    for way in ways:
        train(way, wanted.out / way.name, samples)
        measure("toolbench", way, wanted.out / way.name, pack, ["--data", wanted.data, "--limit", wanted.limit])
    dev = ["--file", EVERYDAY / "dev.jsonl", "--workspace", EVERYDAY / "workspace"]
    for way in ways:
        measure("tasks", way, wanted.out / way.name, pack, dev)
    for suite in ("toolbench", "tasks") if len(ways) > 1 else ():
        umi_local("eval", "compare", *(wanted.out / way.name / f"{way.name}-{suite}.json" for way in ways))


def plain(pack: RolePack) -> dict[str, Any]:
    """A pack's manifest without adapters and worked runs."""
    known = pack.model_dump(mode="json", exclude_none=True)
    roles = {role: {"model": files["model"]} for role, files in known["roles"].items()}
    files = {name: file for name, file in known["files"].items() if file["kind"] == "model"}
    return known | {"roles": roles, "files": files, "examples": []}


def train(way: Way, run: Path, samples: Path) -> None:
    if not run.is_dir():
        shutil.copytree(samples, run)
        recipe = tomllib.loads((samples / "recipe.toml").read_text(encoding="utf-8"))
        (run / "recipe.toml").write_text(tomli_w.dumps(recipe | {"stages": stages(recipe["stages"], way)}))
    for adapter, command in way.commands:
        if not (run / "adapters" / adapter).is_dir():
            umi_local("train", *command, "--run", run)
    if not (run / "gguf" / "files.toml").is_file():
        umi_local("train", "export", "--run", run, "--out", run / "gguf")


def stages(known: dict[str, Any], way: Way) -> dict[str, Any]:
    """The recipe's stages, with a stage of all epochs from nothing in place of both where the way has one."""
    if not way.long:
        return known
    epochs = known["global"]["epochs"] + known["role"]["epochs"]
    return {**known, way.long: {**known["global"], "epochs": epochs}}


def measure(suite: str, way: Way, run: Path, pack: Path, options: Sequence[object]) -> None:
    report = run / f"{way.name}-{suite}.json"
    adapters = [f"--adapter={role}={run / 'gguf' / file}.gguf" for role, file in way.roles.items()]
    agent = ["--pack", pack, "--mode", "single" if "single" in way.roles else "multi", *adapters]
    if not report.is_file():
        umi_local("eval", suite, *options, *agent, "--report", report)


def umi_local(*command: object) -> None:
    print("$ umi-local", *command, flush=True)
    subprocess.run([sys.executable, "-m", "umi_local", *map(str, command)], check=True)


if __name__ == "__main__":
    main()
