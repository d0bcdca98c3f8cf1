"""ToolAlpaca's simulated test (Tang et al., 2023): whole runs on ten unseen APIs, replayed from recorded golden runs.

The paper lets ChatGPT play the APIs and GPT-4 judge the runs. Here neither is at hand: the APIs answer with what was
recorded, and rules decide. A call gets the recorded observation if its tool and arguments are those of a golden step,
or if they differ in optional arguments only; any other call gets an error, where the simulator would have made up an
answer. So a run that finds another way to the same end is not rewarded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from umi_local.evaluation.matching import arguments_count, normal, plain, same_arguments, same_call
from umi_local.evaluation.record_files import digest, simulated_records, words
from umi_local.evaluation.suite import Contestant, Item, Metric, ReferenceRow, Tally
from umi_local.evaluation.turns import calls_of, whole_run
from umi_local.messages import Observation, ToolCall, ToolSpec
from umi_local.records import Record

_METRICS: Mapping[str, Metric] = {
    "step_tool": Metric(
        "Step: tool", "golden steps whose tool is called, in the golden order (longest common sequence)"
    ),
    "step_arguments": Metric("Step: arguments", "the same, with all arguments equal after normalisation"),
    "procedure": Metric(
        "Procedure", "instructions whose calls are the golden tools in order, none missing or too much"
    ),
    "whole": Metric("Whole", "the same, with all arguments equal after normalisation"),
    "answer": Metric("Answer", "answers that hold the golden results by rule; instructions with a golden result"),
    "overall": Metric("Overall", "instructions with a golden result whose calls are whole and whose answer is right"),
}
_NOTES = (
    "The paper's figures were judged by GPT-4 on APIs played by ChatGPT; these come from rules and are no substitute.",
    "A run is held to the recorded calls: another right way counts as wrong.",
    "Of the 153 recorded observations 20 are missing and 40 are errors, so a right call often gets a bad answer; "
    "such results are left out of the answer scores.",
    "Records with placeholders for earlier results, or whose recorded arguments break their own schema, "
    "do not count for arguments.",
)
_FAILED = re.compile(r"Status Code: [45]\d\d|Missing required parameters|Invalid JSON format")
_RESPONSE = "Response:"
# The rule for answers: of the golden results' facts, half must be told, and three are enough.
_SHARE_TOLD, _ENOUGH = 0.5, 3
_LONG_FACT, _SHORTEST_WORD = 5, 4


def toolalpaca(data: Path, split: str = "") -> ToolAlpaca:
    """The suite of 10 APIs and 100 instructions.

    Args:
        data: the folder that holds `eval/`.
        split: must be empty; there is one only.

    Raises:
        UsageError: the file is missing or of another format, or a split is named.
    """
    words(split, (), "split")
    path = data / "eval" / "toolalpaca_simulated.json.gz"
    return ToolAlpaca(simulated_records(path), digest([path]))


@dataclass
class Replay:
    """The tools of one instruction: they answer what was recorded, each golden step once before any repeats."""

    record: Record
    _used: set[int] = field(default_factory=set)

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self.record.trajectory.tools

    def fitting(self, query: str) -> Sequence[ToolSpec]:
        return ()

    def narrowed(self, plan: str, said: str) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def cancel(self) -> None:
        pass

    def run(self, call: ToolCall) -> Observation:
        if call.name not in {spec.name for spec in self.specs}:
            known = ", ".join(spec.name for spec in self.specs)
            return Observation(f"There is no tool {call.name!r}. The tools are: {known}.", is_error=True)
        found = self._step(call)
        if found is None:
            return Observation(f"{call.name} has no result for these arguments.", is_error=True)
        self._used.add(found)
        content = self._recorded[found][1].content
        return Observation(content or "Done.", is_error=bool(_FAILED.match(content)))

    def _step(self, call: ToolCall) -> int | None:
        """The golden step that answers the call: of those with equal arguments, then of those with equal required ones,
        one not used yet before one that was."""
        recorded = [(i, gold) for i, (gold, _) in enumerate(self._recorded) if gold.name == call.name]
        required = self._required(call.name)
        equal = [i for i, gold in recorded if same_call(gold, call)]
        near = [i for i, gold in recorded if same_arguments(_only(gold, required), _only(call, required))]
        return next(iter(sorted(equal, key=self._is_used) or sorted(near, key=self._is_used)), None)

    def _is_used(self, step: int) -> bool:
        return step in self._used

    @property
    def _recorded(self) -> list[tuple[ToolCall, Observation]]:
        steps = self.record.trajectory.steps
        return [pair for step in steps for pair in zip(step.calls, step.observations, strict=True)]

    def _required(self, tool: str) -> Sequence[str]:
        spec = next(spec for spec in self.specs if spec.name == tool)
        return tuple(spec.parameters.get("required", ()))


@dataclass(frozen=True)
class ToolAlpaca:
    """The suite; an item's content is its record."""

    records: Sequence[Record]
    source: str
    name: str = "toolalpaca"
    title: str = "ToolAlpaca, simulated (replayed)"
    notes: Sequence[str] = _NOTES
    metrics: Mapping[str, Metric] = field(default_factory=lambda: _METRICS)

    def items(self) -> Sequence[Item]:
        return [Item(record.id, _api(record), record) for record in self.records]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        start = replace(item.content.trajectory, steps=(), answer="", stop=None)
        return whole_run(contestant, start, Replay(item.content))

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        record: Record = item.content
        gold, calls = record.calls, calls_of(prediction)
        procedure = [call.name for call in calls] == [call.name for call in gold]
        sums = {
            "step_tool": (_common([c.name for c in gold], [c.name for c in calls]), len(gold)),
            "procedure": (procedure, 1),
        }
        whole = len(calls) == len(gold) and all(map(same_call, gold, calls))
        if arguments_count(record):
            sums["step_arguments"] = (_common(_comparable(gold), _comparable(calls)), len(gold))
            sums["whole"] = (whole, 1)
        facts = golden_facts(record)
        if facts:
            right = tells(prediction["answer"], facts)
            sums["answer"] = (right, 1)
            if arguments_count(record):
                sums["overall"] = (whole and right, 1)
        return sums

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        record: Record = item.content
        gold, calls = _written(record.calls), _written(calls_of(prediction))
        if not arguments_count(record):
            gold, calls = [c.name for c in record.calls], [c.name for c in calls_of(prediction)]
        told = (
            []
            if normal(gold) == normal(calls)
            else [f"called {', '.join(calls) or 'nothing'}; golden: {', '.join(gold)}"]
        )
        facts = golden_facts(record)
        if facts and not tells(prediction["answer"], facts):
            told.append(f"the answer does not tell enough of: {'; '.join(facts[:6])}")
        return told

    def reference_rows(self) -> Sequence[ReferenceRow]:
        return ()

    def baselines(self) -> Mapping[str, Contestant]:
        return {}


def golden_facts(record: Record) -> list[str]:
    """What the golden results say: the numbers and texts in them, each once.

    Left out are results that are errors, links, truth values, texts of one character and what the instruction says.
    """
    query = _plain(record.trajectory.query)
    seen = [o.content for step in record.trajectory.steps for o in step.observations]
    leaves = [
        str(normal(leaf)) if isinstance(leaf, float) else str(leaf)
        for text in seen
        if text and not _FAILED.match(text)
        for leaf in _leaves(_parsed(text))
    ]
    facts = dict.fromkeys(" ".join(leaf.split()) for leaf in leaves if "://" not in leaf)
    return [fact for fact in facts if len(fact) > 1 and _plain(fact) not in query]


def tells(answer: str, facts: Sequence[str]) -> bool:
    """Whether the answer holds half of the facts, or three of them.

    A fact of up to five words must occur whole, whatever its case; of a longer one, half of its words of four letters
    and more. This is a rule of thumb: it takes a wrong sentence with the right names in it, and refuses a right one
    that paraphrases.
    """
    said = _plain(answer)
    spoken = set(re.findall(r"\w+", said))
    told = sum(_is_told(_plain(fact), said, spoken) for fact in facts)
    return told >= min(_ENOUGH, _SHARE_TOLD * len(facts))


def _is_told(fact: str, said: str, spoken: set[str]) -> bool:
    found = re.findall(r"\w+", fact)
    content = {word for word in found if len(word) >= _SHORTEST_WORD}
    if len(found) > _LONG_FACT and content:
        return len(content & spoken) >= len(content) / 2
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", said) is not None


def _plain(text: str) -> str:
    """Case, thousands commas and runs of white space do not matter."""
    return " ".join(plain(text).split())


def _parsed(observation: str) -> Any:
    text = observation.partition(_RESPONSE)[2] or observation
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _leaves(value: Any) -> Iterator[str | int | float]:
    match value:
        case dict():
            for part in value.values():
                yield from _leaves(part)
        case list():
            for part in value:
                yield from _leaves(part)
        case bool() | None:
            return
        case str() | int() | float():
            yield value


def _common(gold: Sequence[str], found: Sequence[str]) -> int:
    """The length of the longest sequence that is part of both, in order."""
    row = [0] * (len(found) + 1)
    for one in gold:
        before = row
        row = [0]
        for i, other in enumerate(found):
            row.append(before[i] + 1 if one == other else max(before[i + 1], row[i]))
    return row[-1]


def _comparable(calls: Sequence[ToolCall]) -> list[str]:
    return [f"{call.name} {json.dumps(normal(call.arguments), sort_keys=True)}" for call in calls]


def _written(calls: Sequence[ToolCall]) -> list[str]:
    return [f"{call.name}{json.dumps(dict(call.arguments), ensure_ascii=False, sort_keys=True)}" for call in calls]


def _only(call: ToolCall, names: Sequence[str]) -> dict[str, Any]:
    return {name: call.arguments[name] for name in names if name in call.arguments}


def _api(record: Record) -> str:
    """The API of `toolalpaca-sim-<API>-<number>`."""
    return record.id.removeprefix("toolalpaca-sim-").rpartition("-")[0] or "other"
