"""BFCL v4 (Patil et al.) for Python functions, scored by the original checkers of the package `bfcl-eval`.

Single-turn items: the crew plans and calls until it concludes; every call is answered with "Done.", since there is
nothing to execute, and all calls together are the answer. A turn that only repeats calls already made ends the item and
adds nothing: a run with real tools would have had a result to conclude from. Multi-turn items are whole runs on the
package's simulated classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from umi_local.errors import ContextFull
from umi_local.evaluation.bfcl_checker import check_calls, check_session, data_folder, execute
from umi_local.evaluation.bfcl_data import ANY_CALL, CATEGORIES, MULTI_TURN, NO_CALL, Question, files, read_questions
from umi_local.evaluation.matching import same_call
from umi_local.evaluation.record_files import digest, words
from umi_local.evaluation.suite import Contestant, Item, Metric, Policy, ReferenceRow, Tally
from umi_local.evaluation.turns import called, calls_of, calls_to_json, phrase, take_turn
from umi_local.messages import Observation, ToolCall, ToolSpec
from umi_local.prompts import messages_of
from umi_local.trajectory import Decision, Next, Step, Trajectory

DEFAULT = "simple_python,multiple,parallel,parallel_multiple,irrelevance"
_TURNS = 8  # as many as the longest reference has calls
_SGD = "_sgd"
_DONE = Observation("Done.")
_NOTES = (
    "Scored by the original checkers of bfcl-eval; the prompts are this project's own, not the leaderboard's.",
    "Each call is answered with 'Done.'; a turn that only repeats earlier calls ends the item and is not counted.",
    "Live items whose functions are built on SGD's test schemas count apart ('on SGD'), as training data holds SGD.",
    "Four live_irrelevance items list no function at all: nothing can be called there.",
    "Where calls are constrained to the schemas, wrong types and unlisted names cannot occur.",
)


def bfcl(data: Path, split: str = DEFAULT) -> Bfcl:
    """The suite on some categories.

    Args:
        data: not used, since the package brings its questions; here because every suite takes it.
        split: categories separated by commas; `live` stands for all live ones, `all` for every one.

    Raises:
        UsageError: the package is not installed, a file of it is broken, or there is no such category.
    """
    chosen = words(split or DEFAULT, [*CATEGORIES, "live", "all"], "category")
    wanted = [c for c in CATEGORIES if c in chosen or "all" in chosen or ("live" in chosen and c.startswith("live_"))]
    folder = data_folder()
    questions = [question for category in wanted for question in read_questions(folder, category)]
    return Bfcl(questions, digest(path for category in wanted for path in files(folder, category)))


@dataclass
class Session:
    """The simulated world of a multi-turn item: every call is made on a fresh one, after all calls before it."""

    question: Question
    calls: list[ToolCall] = field(default_factory=list)

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self.question.tools

    def fitting(self, query: str) -> Sequence[ToolSpec]:
        return ()

    def narrowed(self, plan: str, said: str) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def cancel(self) -> None:
        pass

    def run(self, call: ToolCall) -> Observation:
        if call.name not in {spec.name for spec in self.specs}:
            return Observation(f"There is no tool {call.name!r}.", is_error=True)
        try:
            result = execute(self.question.entry, [*map(as_code, self.calls), as_code(call)])[-1]
        except (ValueError, ChildProcessError) as error:
            return Observation(f"{call.name} failed: {error}.", is_error=True)
        self.calls.append(call)
        return Observation(result, is_error=result.startswith(("Error", '{"error"')))


@dataclass(frozen=True)
class Bfcl:
    """The suite; an item's content is its question."""

    questions: Sequence[Question]
    source: str
    name: str = "bfcl"
    title: str = "BFCL v4, Python"
    notes: Sequence[str] = _NOTES

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Of each category its accuracy, live items on SGD schemas apart, and the share of right sets of names."""
        keys = {_key(question): question for question in self.questions}
        known = [f"{category}{end}" for category in CATEGORIES for end in ("", _SGD)]
        found = {key: Metric(key.replace(_SGD, " on SGD"), _rule(keys[key])) for key in known if key in keys}
        if any(_is_compared(question) for question in self.questions):
            found["names"] = Metric(
                "Names", "items with expected calls whose calls have the expected names, in any order"
            )
        return found

    def items(self) -> Sequence[Item]:
        return [Item(question.id, _key(question), question) for question in self.questions]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        question: Question = item.content
        if question.category in MULTI_TURN:
            return {"turns": _session(question, contestant)}
        return _collected(next(question.starts()), contestant)

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        question: Question = item.content
        sums: dict[str, tuple[float, float]] = {_key(question): (not _objection(question, prediction), 1)}
        if _is_compared(question):
            same = _names(question) == Counter(call.name for call in calls_of(prediction))
            sums["names"] = (same and "error" not in prediction, 1)
        return sums

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        objection = _objection(item.content, prediction)
        return [objection] if objection else []

    def reference_rows(self) -> Sequence[ReferenceRow]:
        return ()

    def baselines(self) -> Mapping[str, Contestant]:
        """A policy that never calls: right wherever no call is."""
        never = Policy(lambda run: Next.CONCLUDE, lambda run: ToolCall(run.tools[0].name))
        return {"never calls": Contestant(never, lambda start, toolbox: start)}


def as_code(call: ToolCall) -> str:
    """A call as the package evaluates it.

    Raises:
        ValueError: a parameter's name is no name.
    """
    if not all(name.isidentifier() for name in call.arguments):
        raise ValueError("a parameter's name is no name")
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def _collected(run: Trajectory, contestant: Contestant) -> dict[str, Any]:
    """All calls that are made for a query until the crew concludes or only repeats itself; or the `error` besides."""
    made: list[ToolCall] = []
    error = ""
    for _ in range(_TURNS):
        turn = take_turn(contestant.crew, run)
        calls = calls_of(turn)
        # A call that was begun and cut off is not the same as none.
        error = turn.get("error", "a call was cut off" if called(turn) and not calls else "")
        if error or not calls or all(any(same_call(old, call) for old in made) for call in calls):
            break
        made += calls
        run = run.with_step(Step(Decision(turn["rationale"], Next.CALL), tuple(calls), (_DONE,) * len(calls)))
    return {"calls": calls_to_json(made), **({"error": error} if error else {})}


def _session(question: Question, contestant: Contestant) -> list[dict[str, Any]]:
    """The calls of each of the user's turns; where the context is full, the turns after it are empty."""
    session = Session(question)
    turns: list[dict[str, Any]] = []
    said: tuple[Any, ...] = ()
    full = False
    for start in question.starts():
        before = len(session.calls)
        try:
            if not full:
                run = contestant.run(Trajectory(start.query, start.tools, said, start.context), session)
                said = (*said, *messages_of(run))
        except ContextFull:
            full = True
        turns.append({"calls": calls_to_json(session.calls[before:])})
    return turns


def _objection(question: Question, prediction: Mapping[str, Any]) -> str:
    """Why a prediction is wrong; empty if it is right."""
    if question.category in MULTI_TURN:
        turns = tuple(tuple(map(as_code, calls_of(turn))) for turn in prediction["turns"])
        return _session_objection(question, turns)
    if "error" in prediction:
        return str(prediction["error"])
    calls = calls_of(prediction)
    if question.category in NO_CALL:
        return f"called where nothing fits: {phrase(calls)}" if calls else ""
    if question.category in ANY_CALL:
        return "" if calls else "no call"
    return check_calls(question.category, question.entry.get("function", ()), calls, question.truth or ())


@lru_cache(maxsize=1024)
def _session_objection(question: Question, turns: tuple[tuple[str, ...], ...]) -> str:
    """Kept, because each check starts a process and an item is asked about more than once."""
    return check_session(question.entry, turns, question.truth or ())


def _key(question: Question) -> str:
    return question.category + (_SGD if question.on_sgd else "")


def _is_compared(question: Question) -> bool:
    return question.truth is not None and question.category not in MULTI_TURN


def _names(question: Question) -> Counter[str]:
    return Counter(name for expected in question.truth or () for name in expected)


def _rule(question: Question) -> str:
    if question.category in NO_CALL:
        return "items in which nothing was called, as no tool fits"
    if question.category in ANY_CALL:
        return "items in which something was called"
    if question.category in MULTI_TURN:
        return "sessions whose state and results are right after every turn (original checker)"
    return "items whose calls the original checker accepts"
