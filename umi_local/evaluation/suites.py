"""Every suite by its name: what it needs and how it is made. Nothing of a suite is imported before it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from umi_local.errors import UsageError

if TYPE_CHECKING:
    from umi_local.evaluation.suite import Suite

DATA_VARIABLE = "UMI_LOCAL_DATA"

Factory = Callable[[Path, Mapping[str, str]], "Suite"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A suite in the registry.

    `make` gets the data folder and the options that were given: `split`, `file`, `gold_plan`, `style` (the style of
    the pack's prompts); `options` are those that it understands. `own_data`: it brings its data itself.
    """

    help: str
    make: Factory
    options: frozenset[str] = frozenset({"split"})
    own_data: bool = False


def _toolbench(data: Path, options: Mapping[str, str]) -> Suite:
    from umi_local.evaluation.toolbench import FILE, ToolBench
    from umi_local.prompts import action_calls

    file = Path(options["file"]) if options.get("file") else data / FILE
    write = action_calls if options.get("style") == "alpha-umi" else None
    return ToolBench(file, write, bool(options.get("gold_plan")))


def _factory(module: str, name: str) -> Factory:
    """The function `name` of an evaluation module, which is imported when the suite is made."""

    def make(data: Path, options: Mapping[str, str]) -> Suite:
        suite: Suite = getattr(import_module(f"umi_local.evaluation.{module}"), name)(data, options.get("split", ""))
        return suite

    return make


SUITES: dict[str, Entry] = {
    "toolbench": Entry(
        "The paper's static suite: every decision, teacher-forced.", _toolbench, frozenset({"file", "gold_plan"})
    ),
    "toolalpaca": Entry(
        "ToolAlpaca's simulated APIs: whole runs against the recorded ones.",
        _factory("toolalpaca", "toolalpaca"),
        frozenset(),
    ),
    "apibank": Entry(
        "API-Bank's dialogues. Splits: listed (the source's own tools alone).", _factory("dialogue_suites", "apibank")
    ),
    "sealtools": Entry(
        "Seal-Tools, in domain. Splits: listed (the source's own tools alone).",
        _factory("dialogue_suites", "sealtools"),
    ),
    "sgd": Entry(
        "Schema-guided dialogue: call or ask. Splits: turn, clarify, merged, all, listed.",
        _factory("dialogue_suites", "sgd"),
    ),
    "gsm8k": Entry("Word problems with the calculator, exact answers.", _factory("gsm8k", "gsm8k"), frozenset()),
    "bfcl": Entry(
        "Berkeley function calling with its original checker. Splits: its categories, live, all.",
        _factory("bfcl", "bfcl"),
        own_data=True,
    ),
}


def suite_named(name: str, data: Path | None = None, options: Mapping[str, str] | None = None) -> Suite:
    """The suite of that name.

    Args:
        data: the folder with the data; without one the folder that UMI_LOCAL_DATA names.
        options: see `Entry`; `style` may always be given.

    Raises:
        UsageError: there is no such suite, an option is not for it, or its data is not there.
    """
    entry = SUITES.get(name)
    if entry is None:
        raise UsageError(f"There is no suite {name!r}.", f"The suites are: {', '.join(SUITES)}.")
    given = {key: value for key, value in (options or {}).items() if value}
    for key in given.keys() - entry.options - {"style"}:
        raise UsageError(f"The suite {name} has no --{key.replace('_', '-')}.", f"See: umi-local eval {name} --help")
    return entry.make(_folder(data, needed="file" not in given and not entry.own_data), given)


def _folder(data: Path | None, needed: bool) -> Path:
    folder = data or Path(os.environ.get(DATA_VARIABLE, ""))
    if needed and folder == Path():
        raise UsageError(
            "No folder with the data is named.",
            f"Add --data DIR, or set {DATA_VARIABLE} to the folder that holds eval/.",
        )
    if needed and not folder.is_dir():
        raise UsageError(f"There is no data folder {folder}.", f"Correct --data or {DATA_VARIABLE}.")
    return folder
