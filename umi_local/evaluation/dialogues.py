"""Single decisions and calls on recorded dialogues: API-Bank, Seal-Tools and Schema-Guided Dialogue.

Teacher-forced: every turn is taken on what was recorded before it, so one mistake does not spoil the turns after it.
Earlier steps show the recorded call, its observation and the recorded thought; where a source has no thoughts, it is
"Use <tool>.". Of a turn with several calls the first is scored; the others must be recorded calls still to come, or
the whole turn is not matched. Where no observations were recorded (Seal-Tools) the calls do not build on each other:
they may come in any order (a turn is compared with the recorded call it is nearest to, which then counts as made), and
nothing is decided after the last, since there is nothing to answer from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from umi_local.evaluation.matching import (
    arguments_count,
    differences,
    identical_arguments,
    pairs,
    same_arguments,
    same_call,
)
from umi_local.evaluation.suite import Contestant, Item, Metric, Policy, ReferenceRow, Tally
from umi_local.evaluation.turns import called, calls_of, phrase, take_turn
from umi_local.messages import ToolCall
from umi_local.records import Record
from umi_local.trajectory import Decision, Next, Step, Trajectory

METRICS: Mapping[str, Metric] = {
    "decision": Metric("Call or not", "turns in which it was rightly decided whether to call; giving up is no call"),
    "decision_call": Metric("Calls found", "of the turns that need a call, those in which one was decided on"),
    "decision_none": Metric("Silence kept", "of the turns that need no call, those in which none was decided on"),
    "tool": Metric("Tool", "of the turns that need a call, those in which the right tool was called"),
    "arguments": Metric("Arguments", "of the turns that need a call: right tool, and all arguments equal (normalised)"),
    "arguments_exact": Metric("Exact", "the same, with arguments equal as JSON to the last character"),
    "parameter_f1": Metric("Parameter F1", "micro F1 over (tool, parameter, value) of the turns that need a call"),
    "turn": Metric("Whole", "records in which every decision, tool and argument is right and no call is too much"),
}
_ONLY_WITH_SILENCE = {"decision_none"}
_SPLIT_BY_GROUP = ("tool", "arguments", "turn")

Sums = dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A record to be measured. `group` sets records apart in metrics of their own; empty: it does not."""

    record: Record
    group: str = ""

    @property
    def gold(self) -> tuple[Step, ...]:
        """The recorded steps with calls, each with a thought."""
        return tuple(_with_thought(step) for step in self.record.trajectory.steps if step.calls)

    @property
    def observed(self) -> bool:
        """Whether every call's observation was recorded, so that there is something to decide after the last one."""
        return all(seen.content for step in self.gold for seen in step.observations)

    @property
    def arguments_count(self) -> bool:
        """Whether the recorded arguments can be required."""
        return arguments_count(self.record)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A turn beside the recorded call it is compared with (none: no call is needed) and those still to come."""

    turn: Mapping[str, Any]
    gold: ToolCall | None
    coming: Sequence[ToolCall]

    @property
    def call(self) -> ToolCall | None:
        return next(iter(calls_of(self.turn)), None)

    @property
    def decided(self) -> bool:
        return "error" not in self.turn and called(self.turn) == (self.gold is not None)

    @property
    def tool(self) -> bool:
        return self.gold is not None and self.call is not None and self.call.name == self.gold.name

    @property
    def arguments(self) -> bool:
        return self.gold is not None and self.call is not None and same_call(self.gold, self.call)

    @property
    def extra(self) -> list[ToolCall]:
        """Calls beyond the first that are no recorded ones still to come."""
        coming = list(self.coming)
        extra = []
        for call in calls_of(self.turn)[1:]:
            found = next((i for i, gold in enumerate(coming) if same_call(gold, call)), None)
            if found is None:
                extra.append(call)
            else:
                coming.pop(found)
        return extra


@dataclass(frozen=True)
class RecordSuite:
    """A suite over recorded dialogues; `dialogues` by the stratum they are drawn from."""

    name: str
    title: str
    source: str
    dialogues: Mapping[str, Sequence[Dialogue]]
    notes: Sequence[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        found = {name: metric for name, metric in METRICS.items() if self._has(name)}
        for group, words in self.groups.items():
            for name in _SPLIT_BY_GROUP:
                metric = METRICS[name]
                found[f"{name}_{group}"] = Metric(f"{metric.title} ({group})", f"{metric.description}; {words}")
        return found

    def items(self) -> Sequence[Item]:
        return [
            Item(dialogue.record.id, stratum, dialogue)
            for stratum, dialogues in self.dialogues.items()
            for dialogue in dialogues
        ]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        dialogue: Dialogue = item.content
        run = replace(dialogue.record.trajectory, steps=(), answer="", stop=None)
        remaining, turns = list(dialogue.gold), []
        while remaining:
            turns.append(take_turn(contestant.crew, run))
            calls = [step.calls[0] for step in remaining]
            run = run.with_step(remaining.pop(_nearest(calls, calls_of(turns[-1]), dialogue.observed)))
        if dialogue.observed:
            turns.append(take_turn(contestant.crew, run, call=False))
        return {"turns": turns}

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        dialogue: Dialogue = item.content
        scored = list(_scored(dialogue, prediction))
        sums: Sums = {}
        for turn in scored:
            _add(sums, "decision", turn.decided)
            _add(sums, "decision_none" if turn.gold is None else "decision_call", turn.decided)
            if turn.gold is not None:
                _add(sums, "tool", turn.tool)
        if dialogue.arguments_count:
            _add_arguments(sums, scored)
            _add(sums, "turn", all(turn.decided and not turn.extra for turn in scored) and _all_match(scored))
        if dialogue.group:
            sums.update({f"{n}_{dialogue.group}": sums[n] for n in _SPLIT_BY_GROUP if n in sums})
        return sums

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        dialogue: Dialogue = item.content
        told = []
        for number, turn in enumerate(_scored(dialogue, prediction), 1):
            told += [f"turn {number}: {words}" for words in _faults(turn, dialogue.arguments_count)]
        return told

    def reference_rows(self) -> Sequence[ReferenceRow]:
        return ()

    def baselines(self) -> Mapping[str, Contestant]:
        """A policy that never calls, and one that always calls the first listed tool without arguments."""
        never = Policy(lambda run: Next.CONCLUDE, _first_tool)
        first = Policy(lambda run: Next.CALL, _first_tool)
        return {"never calls": _contestant(never), "first tool, no arguments": _contestant(first)}

    def _has(self, name: str) -> bool:
        return name not in _ONLY_WITH_SILENCE or any(d.observed for some in self.dialogues.values() for d in some)


def only_listed(record: Record) -> Record:
    """The record with no tools but those that its source lists (`meta.listed`), the source's own, easier setting."""
    listed = record.meta.get("listed")
    tools = tuple(tool for tool in record.trajectory.tools if listed is None or tool.name in listed)
    return replace(record, trajectory=replace(record.trajectory, tools=tools))


def _scored(dialogue: Dialogue, prediction: Mapping[str, Any]) -> Iterator[_Scored]:
    remaining = [step.calls[0] for step in dialogue.gold]
    for turn in prediction["turns"]:
        gold = remaining.pop(_nearest(remaining, calls_of(turn), dialogue.observed)) if remaining else None
        yield _Scored(turn, gold, tuple(remaining))


def _nearest(remaining: Sequence[ToolCall], calls: Sequence[ToolCall], in_order: bool) -> int:
    """Which recorded call a turn is compared with: the next one, or in any order the one that is most like it."""
    if in_order or not calls:
        return 0
    first = calls[0]

    def likeness(index: int) -> tuple[bool, bool, int]:
        gold = remaining[index]
        same_name = gold.name == first.name
        return same_name, same_call(gold, first), (pairs(gold) & pairs(first)).total() if same_name else 0

    return max(range(len(remaining)), key=likeness)  # of equals the earliest, so that it is always scored alike


def _add(sums: Sums, name: str, score: float, count: float = 1) -> None:
    total, units = sums.get(name, (0.0, 0.0))
    sums[name] = (total + score, units + count)


def _add_arguments(sums: Sums, scored: Sequence[_Scored]) -> None:
    for turn in scored:
        if turn.gold is None:
            continue
        call = turn.call
        gold, found = pairs(turn.gold), pairs(call)
        _add(sums, "arguments", turn.arguments)
        exact = turn.tool and call is not None and identical_arguments(turn.gold.arguments, call.arguments)
        _add(sums, "arguments_exact", exact)
        _add(sums, "parameter_f1", 2 * (gold & found).total(), gold.total() + found.total())


def _all_match(scored: Sequence[_Scored]) -> bool:
    return all(turn.arguments for turn in scored if turn.gold is not None)


def _faults(turn: _Scored, arguments_count: bool) -> Iterator[str]:
    if "error" in turn.turn:
        yield turn.turn["error"]
    elif turn.gold is None:
        if not turn.decided:
            yield "a call where none is needed"
    elif not turn.decided:
        yield f"no call ({turn.turn['next']}) where {turn.gold.name} is needed"
    elif turn.call is None:
        yield f"the call was cut off where {turn.gold.name} is needed"
    elif not turn.tool:
        yield f"{turn.call.name} called instead of {turn.gold.name}"
    elif arguments_count and not same_arguments(turn.gold.arguments, turn.call.arguments):
        yield f"{turn.gold.name}: {'; '.join(differences(turn.gold.arguments, turn.call.arguments))}"
    if turn.gold is not None and turn.extra:
        yield f"calls too many: {phrase(turn.extra)}"


def _with_thought(step: Step) -> Step:
    thought = step.decision.rationale or f"Use {step.calls[0].name}."
    return replace(step, decision=Decision(thought, step.decision.next))


def _first_tool(run: Trajectory) -> ToolCall:
    return ToolCall(run.tools[0].name)


def _contestant(crew: Policy) -> Contestant:
    return Contestant(crew, lambda start, toolbox: start)
