"""GSM8K (Cobbe et al., 2021) with the calculator: whole runs, and the number they end in.

The development part is the last 500 records of the training file, which no model of ours is trained on. The tool is the
project's own calculator, as the agent has it, and not the one that the records list.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from umi_local.errors import UsageError
from umi_local.evaluation.record_files import digest, suite_records, words
from umi_local.evaluation.suite import Contestant, Item, Metric, ReferenceRow, Tally
from umi_local.evaluation.turns import whole_run
from umi_local.records import Record
from umi_local.toolbox import LocalToolbox, ToolContext, Workspace
from umi_local.tools import BUILTIN_TOOLS
from umi_local.trajectory import Trajectory

_DEV = 500
_NUMBER = re.compile(r"(?<![\w.])-?[$£€]?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?")

_METRICS: Mapping[str, Metric] = {
    "answer": Metric("Answer", "problems whose answer's last number is the recorded result, exactly"),
    "result": Metric("Computed", "problems in which some call's result is the recorded result"),
    "called": Metric("Called", "problems in which the calculator was called"),
    "valid": Metric("Valid calls", "calls that gave a number; over all calls"),
}
_NOTES = (
    "The problems come from GSM8K's training part (its last 500 records here), not from its test part.",
    "The answer's last number counts, whatever is said around it; commas, currency signs and .0 do not matter.",
)


def gsm8k(data: Path, split: str = "") -> Gsm8k:
    """The suite of 500 problems.

    Args:
        data: the folder that holds `train/`.
        split: must be empty; there is one only.

    Raises:
        UsageError: the file is missing or of another format, an answer holds no number, or a split is named.
    """
    words(split, (), "split")
    path = data / "train" / "gsm8k_calc_train.jsonl.gz"
    records = suite_records(path)[-_DEV:]
    for record in records:
        if last_number(record.trajectory.answer) is None:
            raise UsageError(f"The answer of {record.id} in {path} holds no number.", "It must end in the result.")
    return Gsm8k(records, digest([path]))


@dataclass(frozen=True)
class Gsm8k:
    """The suite; an item's content is its record."""

    records: Sequence[Record]
    source: str
    name: str = "gsm8k"
    title: str = "GSM8K with the calculator, dev"
    notes: Sequence[str] = _NOTES
    metrics: Mapping[str, Metric] = field(default_factory=lambda: _METRICS)

    def items(self) -> Sequence[Item]:
        return [Item(record.id, _stratum(record), record) for record in self.records]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        tools = [tool for tool in BUILTIN_TOOLS if tool.name == "calculator"]
        record: Record = item.content
        with tempfile.TemporaryDirectory(prefix="umi-gsm8k-") as folder:
            toolbox = LocalToolbox(tools, ToolContext(Workspace(Path(folder)), Path(folder, "notes.md")))
            return whole_run(contestant, Trajectory(record.trajectory.query, toolbox.specs), toolbox)

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        gold = last_number(item.content.trajectory.answer)
        calls = prediction["calls"]
        valid = [call for call in calls if not call["is_error"]]
        return {
            "answer": (last_number(prediction["answer"]) == gold, 1),
            "result": (any(_result(call["observation"]) == gold for call in valid), 1),
            "called": (bool(calls), 1),
            "valid": (len(valid), len(calls)),
        }

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        gold, found = last_number(item.content.trajectory.answer), last_number(prediction["answer"])
        if found == gold:
            return []
        told = "no number" if found is None else str(found)
        return [f"the answer holds {told}, not {gold} (stopped: {prediction['stop']})"]

    def reference_rows(self) -> Sequence[ReferenceRow]:
        return ()

    def baselines(self) -> Mapping[str, Contestant]:
        return {}


def last_number(text: str) -> Fraction | None:
    """The last number in a text, exactly; None if there is none. 1,250.0 and $1250 are one number; 5-3 ends in 3."""
    found = [*_NUMBER.finditer(text)]
    if not found:
        return None
    sign = -1 if found[-1][0].startswith("-") else 1
    return sign * Fraction(found[-1][1].replace(",", "") + (found[-1][2] or ""))


def _result(observation: str) -> Fraction | None:
    """The number after the equals sign of the calculator's answer; a remark on a repeated call may follow it."""
    first = observation.split("\n")[0]
    return last_number(first.rpartition("=")[2])


def _stratum(record: Record) -> str:
    """How many calls the record has; from four on they count as alike."""
    return f"{min(len(record.calls), 4)} calls"
