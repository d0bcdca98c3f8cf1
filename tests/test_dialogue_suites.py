"""API-Bank, Seal-Tools and SGD: what is asked of a crew, and what its answers score, by hand on small records."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from umi_local.errors import ContextFull, UsageError
from umi_local.evaluation.dialogue_suites import TRAINED_SERVICES, apibank, sealtools, sgd
from umi_local.evaluation.dialogues import RecordSuite
from umi_local.evaluation.matching import differences, pairs, same_arguments
from umi_local.evaluation.suite import Contestant, Item
from umi_local.messages import ToolCall
from umi_local.roles import Incomplete
from umi_local.trajectory import Decision, Next, Trajectory

Call = tuple[str, dict[str, Any]]


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": "", "parameters": {"type": "object", "properties": {}, "required": []}}


def record(id: str, calls: Sequence[Call], observation: str = "fine", **meta: Any) -> dict[str, Any]:
    steps = [{"thought": "", "tool": name, "arguments": a, "observation": observation} for name, a in calls]
    tools = [tool(name) for name in ("A", "B", "Other")]
    base = {"id": id, "source": "here", "tools": tools, "history": [], "query": "q", "answer": "a"}
    return {**base, "steps": steps, "meta": meta}


def write(folder: Path, name: str, records: Iterable[Mapping[str, Any]]) -> Path:
    path = folder / "eval" / f"{name}.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return folder


@dataclass
class Crew:
    """Makes the calls of `turns`, one entry per turn; none in an entry: it concludes. Keeps what it was shown."""

    turns: Sequence[Sequence[ToolCall]]
    cut: bool = False
    seen: list[Trajectory] = field(default_factory=list)

    def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
        self.seen.append(trajectory)
        done = len(trajectory.steps)
        calls = self.turns[done] if done < len(self.turns) else ()
        return Decision("because", Next.CALL if calls else Next.CONCLUDE)

    def call(self, trajectory: Trajectory) -> tuple[ToolCall, ...]:
        if self.cut:
            raise Incomplete
        return tuple(self.turns[len(trajectory.steps) - 1])

    def conclude(self, trajectory: Trajectory) -> str:
        return ""


def contestant(crew: Crew) -> Contestant:
    return Contestant(crew, lambda start, toolbox: start)


def gold(item: Item) -> Crew:
    return Crew([(call,) for call in item.content.record.calls])


def never(item: Item) -> Crew:
    return Crew(())


def wrong_arguments(item: Item) -> Crew:
    return Crew([(ToolCall(call.name, {"x": "wrong"}),) for call in item.content.record.calls])


def scores(suite: RecordSuite, crew_for: Callable[[Item], Crew]) -> dict[str, tuple[float, float]]:
    """The sums over all items, from predictions that went through JSON."""
    total: dict[str, tuple[float, float]] = {}
    for item in suite.items():
        prediction = json.loads(json.dumps(suite.predict(item, contestant(crew_for(item)))))
        for name, (score, count) in suite.tally(item, prediction).items():
            before = total.get(name, (0.0, 0.0))
            total[name] = (before[0] + score, before[1] + count)
    assert set(total) <= set(suite.metrics)
    return total


@pytest.fixture
def bank(tmp_path: Path) -> RecordSuite:
    """Four calls, in two records, with five parameters; a third record needs none."""
    records = [
        record("a-level-1-1", [("A", {"x": 1, "y": "Two  words"})]),
        record("a-level-2-2", [("A", {"x": 2}), ("B", {"z": True}), ("B", {"z": [1, "b"]})]),
        record("a-level-1-3", []),
    ]
    return apibank(write(tmp_path, "apibank", records))


def test_the_gold_calls_score_everything(bank: RecordSuite) -> None:
    found = scores(bank, gold)
    assert found == {
        "decision": (7, 7),
        "decision_call": (4, 4),
        "decision_none": (3, 3),
        "tool": (4, 4),
        "arguments": (4, 4),
        "arguments_exact": (4, 4),
        "parameter_f1": (10, 10),
        "turn": (3, 3),
    }
    assert [item.stratum for item in bank.items()] == ["level 1", "level 1", "level 2"]
    assert set(bank.metrics) == set(found)


def test_who_never_calls_is_right_where_no_call_is_needed(bank: RecordSuite) -> None:
    found = scores(bank, never)
    assert found["decision"] == (3, 7)
    assert (found["decision_call"], found["decision_none"]) == ((0, 4), (3, 3))
    assert (found["tool"], found["arguments"], found["parameter_f1"], found["turn"]) == ((0, 4), (0, 4), (0, 5), (1, 3))
    by_policy = bank.baselines()["never calls"]
    assert scores(bank, lambda item: by_policy.crew) == found  # type: ignore[arg-type, return-value]


def test_the_right_tool_with_wrong_arguments(bank: RecordSuite) -> None:
    found = scores(bank, wrong_arguments)
    assert (found["decision"], found["tool"]) == ((7, 7), (4, 4))
    assert (found["arguments"], found["arguments_exact"], found["turn"]) == ((0, 4), (0, 4), (1, 3))
    assert found["parameter_f1"] == (0, 5 + 4)


def test_half_the_parameters_count_half(bank: RecordSuite) -> None:
    item = bank.items()[0]
    prediction = bank.predict(item, contestant(Crew([(ToolCall("A", {"x": 1.0}),)])))
    assert bank.tally(item, prediction)["parameter_f1"] == (2, 3)
    assert bank.failed(item, prediction) == ['turn 1: A: y is missing ("Two  words")']


def test_arguments_are_equal_after_normalisation_and_not_exactly(bank: RecordSuite) -> None:
    item = bank.items()[0]
    tally = bank.tally(item, bank.predict(item, contestant(Crew([(ToolCall("A", {"y": "two WORDS ", "x": 1.0}),)]))))
    assert (tally["arguments"], tally["arguments_exact"], tally["turn"]) == ((1, 1), (0, 1), (1, 1))


def test_another_tool_and_a_call_too_much_are_told(bank: RecordSuite) -> None:
    first, third, _ = bank.items()
    other = bank.predict(first, contestant(Crew([(ToolCall("Other"),)])))
    assert bank.tally(first, other)["tool"] == (0, 1)
    assert bank.failed(first, other) == ["turn 1: Other called instead of A"]
    eager = bank.predict(third, contestant(Crew([(ToolCall("A"),)])))
    assert bank.failed(third, eager) == ["turn 1: a call where none is needed"]
    assert bank.failed(first, bank.predict(first, contestant(Crew(())))) == [
        "turn 1: no call (conclusion) where A is needed"
    ]
    cut = bank.predict(first, contestant(Crew([(ToolCall("A"),)], cut=True)))
    assert bank.failed(first, cut) == ["turn 1: the call was cut off where A is needed"]
    assert (bank.tally(first, cut)["decision"], bank.tally(first, cut)["tool"]) == ((2, 2), (0, 1))


def test_a_turn_that_does_not_fit_the_context_is_wrong_even_where_no_call_is_needed(bank: RecordSuite) -> None:
    class Full(Crew):
        def plan(self, trajectory: Trajectory, choices: Collection[Next]) -> Decision:
            raise ContextFull("It is full.")

    found = scores(bank, lambda item: Full(()))
    assert (found["decision"], found["decision_none"], found["turn"]) == ((0, 7), (0, 3), (0, 3))
    item = bank.items()[1]
    assert bank.failed(item, bank.predict(item, contestant(Full(())))) == ["turn 1: It is full."]


def test_every_turn_sees_the_recorded_steps_with_a_thought(bank: RecordSuite) -> None:
    item = bank.items()[2]
    crew = wrong_arguments(item)
    bank.predict(item, contestant(crew))
    assert [len(run.steps) for run in crew.seen] == [0, 1, 2, 3]
    last = crew.seen[-1].steps[1]
    assert (last.decision.rationale, last.calls[0].arguments) == ("Use B.", {"z": True})
    assert (last.observations[0].content, crew.seen[-1].answer) == ("fine", "")


def test_only_the_tools_that_the_source_lists(tmp_path: Path) -> None:
    data = write(tmp_path, "apibank", [record("r", [("A", {})], listed=["A", "B"])])
    assert [t.name for t in apibank(data, "listed").items()[0].content.record.trajectory.tools] == ["A", "B"]
    assert len(apibank(data).items()[0].content.record.trajectory.tools) == 3


@pytest.fixture
def seal(tmp_path: Path) -> RecordSuite:
    calls: list[Call] = [("A", {"x": 1}), ("A", {"x": 2}), ("B", {})]
    return sealtools(write(tmp_path, "seal_test_in_domain", [record("seal-easy-1", calls, observation="")]))


def test_calls_without_observations_may_come_in_any_order(seal: RecordSuite) -> None:
    assert scores(seal, gold) == scores(seal, lambda item: Crew(gold(item).turns[::-1]))
    assert scores(seal, gold)["turn"] == (1, 1)
    assert "decision_none" not in seal.metrics


def test_a_call_made_twice_counts_once(seal: RecordSuite) -> None:
    twice = Crew([(ToolCall("B"),)] * 3)
    assert scores(seal, lambda item: twice)["tool"] == (1, 3)


def test_a_turn_is_compared_with_the_call_it_is_nearest_to(seal: RecordSuite) -> None:
    crew = Crew([(ToolCall("A", {"x": 2}),), (ToolCall("A", {"x": 3}),), (ToolCall("B"),)])
    found = scores(seal, lambda item: crew)
    assert (found["tool"], found["arguments"], found["parameter_f1"]) == ((3, 3), (2, 3), (2, 4))


def test_calls_beyond_the_first_must_be_recorded_ones_still_to_come(seal: RecordSuite) -> None:
    first, second, third = (turn[0] for turn in gold(seal.items()[0]).turns)
    assert scores(seal, lambda item: Crew([(first, third), (second,), (third,)]))["turn"] == (1, 1)
    too_many = Crew([(first, first), (second,), (third,)])
    assert scores(seal, lambda item: too_many)["turn"] == (0, 1)
    prediction = seal.predict(seal.items()[0], contestant(too_many))
    assert seal.failed(seal.items()[0], prediction) == ["turn 1: calls too many: A"]


@pytest.mark.parametrize("meta", [{"reference_args": True}, {"args_valid": False}])
def test_arguments_that_nobody_could_write_do_not_count(meta: dict[str, Any], tmp_path: Path) -> None:
    suite = sealtools(write(tmp_path, "seal_test_in_domain", [record("r", [("A", {"x": "API_call_0"})], "", **meta)]))
    assert scores(suite, wrong_arguments) == {"decision": (1, 1), "decision_call": (1, 1), "tool": (1, 1)}


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    seen, unseen = {"A": "Banks_1"}, {"A": "Banks_1", "B": "Banks_2"}
    write(tmp_path, "sgd_turn_dev", [record(f"t{i}", [("A", {"x": i})], services=unseen) for i in range(501)])
    write(tmp_path, "sgd_clarify_dev", [record("c0", [], services=unseen), record("c1", [], services=seen)])
    return write(tmp_path, "sgd_merged_dev", [record("m", [("A", {}), ("B", {})], services=unseen)])


def test_sgd_counts_services_that_training_has_apart(dialogues: Path) -> None:
    suite = sgd(dialogues, "clarify,merged")
    found = scores(suite, gold)
    assert (found["turn_seen"], found["turn_unseen"]) == ((1, 1), (2, 2))
    assert (found["tool_unseen"], "tool_seen" in found) == ((2, 2), False)
    assert len(TRAINED_SERVICES) == 26


def test_sgd_draws_the_same_turns_every_time(dialogues: Path) -> None:
    items = sgd(dialogues).items()
    assert [sum(item.stratum == part for item in items) for part in ("turn", "clarify", "merged")] == [500, 2, 1]
    assert [item.id for item in items] == [item.id for item in sgd(dialogues, "all").items()]
    assert {item.stratum for item in sgd(dialogues, "turn").items()} == {"turn"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"id": "r"}], "Line 1"),
        ([{**record("r", []), "tools": []}], "lists no tools"),
        ([record("r", [("C", {})])], "calls C, which it does not list"),
        ([], "holds no records"),
    ],
)
def test_a_file_that_cannot_be_measured_is_refused(content: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        apibank(write(tmp_path, "apibank", content))
    assert raised.value.remedy


def test_a_missing_file_an_unknown_split_and_a_record_without_services_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        apibank(tmp_path)
    with pytest.raises(UsageError, match="There is no split 'turns'"):
        sgd(tmp_path, "turns")
    with pytest.raises(UsageError, match="does not say its services"):
        sgd(write(tmp_path, "sgd_merged_dev", [record("r", [])]), "merged")


@pytest.mark.parametrize(
    ("gold", "said", "same"),
    [
        ({"a": 3}, {"a": 3.0}, True),
        ({"a": [1, {"b": " X  y"}]}, {"a": [1.0, {"b": "x y"}]}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": float("inf")}, {"a": float("inf")}, True),
    ],
)
def test_when_arguments_are_the_same(gold: dict[str, Any], said: dict[str, Any], same: bool) -> None:
    assert same_arguments(gold, said) is same
    assert (differences(gold, said) == []) is same
    assert (pairs(ToolCall("t", gold)) == pairs(ToolCall("t", said))) is same


@pytest.mark.skipif("UMI_LOCAL_DATA" not in os.environ, reason="UMI_LOCAL_DATA names no data folder")
@pytest.mark.parametrize(("make", "items"), [(apibank, 402), (sealtools, 700), (sgd, 1040)])
def test_on_the_real_files_the_gold_calls_score_everything(make: Callable[[Path], RecordSuite], items: int) -> None:
    suite = make(Path(os.environ["UMI_LOCAL_DATA"]))
    assert len(suite.items()) == items
    assert all(score == count for score, count in scores(suite, gold).values())
