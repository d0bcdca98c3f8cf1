"""ToolBench, static: every decision of recorded conversations, teacher-forced, by the paper's own metrics.

The history is the gold one at every step; the caller and the summarizer get the predicted plan, so their scores hold
the planner's errors too. With `gold_plan` both are measured once more on the gold plan.
Source: arXiv 2401.07324 and the evaluator of X-PLUG/Multi-LLM-Agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from umi_local.errors import ContextFull
from umi_local.evaluation.paper_metrics import END, NONE, read_turn, score_turn
from umi_local.evaluation.suite import Contestant, Item, Metric, ReferenceRow, Tally
from umi_local.evaluation.toolbench_data import Conversation, ScoredStep, read_conversations
from umi_local.evaluation.toolbench_policies import GoldCrew, contestants, fitted_rows
from umi_local.messages import ToolCall
from umi_local.prompts import CallWriter, action_calls, plan_text
from umi_local.roles import Crew, Incomplete
from umi_local.trajectory import Decision, Next, Step, Trajectory

FILE = "eval/toolbench_ood_dev.json.gz"

_METRICS = {
    "plan_em": Metric("Plan ACC", "the decision (call, finish, give up) is the reference's; over all steps"),
    "action_em": Metric("Act. EM", "the tool's name is the reference's; over steps whose reference calls"),
    "hallu_rate": Metric("Hallu.", "the tool called is not listed; over all steps", higher_is_better=False),
    "f1": Metric("Arg. F1", "keys and values of the arguments, half credit for a key with another value"),
    "easy_f1": Metric("F1 easy", "the same where the reference is {}; every wrong name counts here too"),
    "hard_f1": Metric("F1 hard", "the same where the reference has arguments; every wrong name counts here too"),
    "rouge": Metric("R-L", "ROUGE-L of the answer, summary level; over steps whose reference finishes"),
    "recall_call": Metric("Recall call", "share of the reference's calls that were decided so"),
    "recall_finish": Metric("Recall finish", "share of the reference's conclusions that were decided so"),
    "recall_give_up": Metric("Recall give up", "share of the reference's surrenders that were decided so"),
}
_GOLD_PLAN = {
    "gold_action_em": Metric("Act. EM*", "as Act. EM, with the gold plan given"),
    "gold_f1": Metric("Arg. F1*", "as Arg. F1, with the gold plan given"),
    "gold_rouge": Metric("R-L*", "as R-L, with the gold plan given"),
}
_NOTES = (
    "Teacher-forced on the gold history. The caller and the summarizer read the predicted plan.",
    "Where calls are constrained to the listed tools, Hallu. is 0 by construction and says nothing of the model.",
    "The documents do not name required arguments, so none is required.",
    "The files do not say which results are errors; short ones that speak of what went wrong are taken for such.",
    "Giving up is open to our agents after an error alone, where 12 of the development file's 29 stand.",
    "The development file and the paper's whole out-of-domain file have other steps; their figures are not comparable.",
    "The metric rewards deciding as ChatGPT did: see the row that only counts calls.",
)
# Table 1 of the paper, out of domain, 1,547 steps.
_PAPER = {
    "paper: ChatGPT, 0-shot": (81.62, 54.67, 8.19, 40.08, 22.85),
    "paper: GPT-4, 0-shot": (77.80, 55.26, 5.12, 47.45, 30.61),
    "paper: Single-LLM 7B": (84.61, 56.54, 2.26, 50.09, 47.99),
    "paper: Single-LLM 13B": (86.74, 60.04, 2.03, 52.94, 48.46),
    "paper: alpha-UMi 7B": (89.72, 60.47, 0.45, 53.60, 46.26),
    "paper: alpha-UMi 13B": (88.73, 64.21, 0.24, 57.38, 42.50),
}
_PAPER_KEYS = ("plan_em", "action_em", "hallu_rate", "f1", "rouge")


class ToolBench:
    """The suite on one file.

    Args:
        write: how earlier calls are written into the history; None for the chat style, `action_calls` for the paper's.
        gold_plan: whether caller and summarizer are also measured on the gold plan. It takes a crew whose turns do not
            depend on each other, so not one that writes a step in one go.

    Raises:
        UsageError: the file cannot be read or has another form.
    """

    name = "toolbench"
    title = "ToolBench, static"
    notes: Sequence[str] = _NOTES

    def __init__(self, file: Path, write: CallWriter | None = None, gold_plan: bool = False) -> None:
        self._conversations, self.source = read_conversations(file, write)
        self._gold_plan = gold_plan
        self.metrics: Mapping[str, Metric] = {**_METRICS, **(_GOLD_PLAN if gold_plan else {})}

    def items(self) -> Sequence[Item]:
        return self._items

    @cached_property
    def _items(self) -> list[Item]:
        width = len(str(len(self._conversations)))
        return [
            Item(f"{number:0{width}}", _stratum(conversation), conversation)
            for number, conversation in enumerate(self._conversations)
        ]

    def predict(self, item: Item, contestant: Contestant) -> dict[str, Any]:
        """A conversation's steps, each as the evaluator reads it, with the reference beside it."""
        conversation: Conversation = item.content
        steps = [self._predict(step, contestant.crew) for step in conversation.steps]
        return {"query": conversation.query, "steps": steps}

    def tally(self, item: Item, prediction: Mapping[str, Any]) -> Tally:
        sums: dict[str, tuple[float, float]] = {}
        for step, said in _paired(item, prediction):
            for name, (score, count) in self._scores(item.content.names, step, said).items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + score, before[1] + count)
        return sums

    def failed(self, item: Item, prediction: Mapping[str, Any]) -> list[str]:
        words = []
        for step, said in _paired(item, prediction):
            scores = self._scores(item.content.names, step, said)
            reason = said.get("error") or _reason(step, said, scores)
            if reason:
                words.append(f"turn {step.turn}: {reason}")
        return words

    def reference_rows(self) -> Sequence[ReferenceRow]:
        published = [
            ReferenceRow(name, dict(zip(_PAPER_KEYS, values, strict=True)), "published, on the whole file")
            for name, values in _PAPER.items()
        ]
        return [*fitted_rows(self._conversations), *published]

    def baselines(self) -> Mapping[str, Contestant]:
        return contestants()

    def evaluator_input(self, predictions: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predictions by item as the paper's own evaluator reads them: one object per step."""
        return [
            {
                "tools": list(item.content.tools),
                "instruction": item.content.instruction,
                "history": list(item.content.turns[: step.turn]),
                "reference": step.reference,
                "predictions": said["predictions"],
            }
            for item in self.items()
            if item.id in predictions
            for step, said in _paired(item, predictions[item.id])
        ]

    def _predict(self, step: ScoredStep, crew: Crew) -> dict[str, Any]:
        if isinstance(crew, GoldCrew):
            crew.step = step
        said: dict[str, Any] = {"turn": step.turn, "reference": step.reference}
        try:
            said["predictions"] = _played(crew, step.start, crew.plan(step.start, tuple(Next)))
            if self._gold_plan and step.decision.next is not Next.GIVE_UP:
                said["with_gold_plan"] = _played(crew, step.start, step.decision)
        except ContextFull as error:
            # Asking again would not help: the step is wrong, and the next one may fit.
            said = {"predictions": "", **said, "error": str(error)}
        return said

    def _scores(self, tools: Sequence[str], step: ScoredStep, said: Mapping[str, Any]) -> Tally:
        scores = dict(score_turn(tools, step.reference, said["predictions"]))
        if said.get("error"):
            # Without a decision the evaluator would see a call, which may be the right class by chance.
            scores = {name: (0.0, count) for name, (_, count) in scores.items()}
        if self._gold_plan:
            again = score_turn(tools, step.reference, said.get("with_gold_plan", ""))
            known = {name: again[name] for name in ("action_em", "f1", "rouge") if name in again}
            scores |= {f"gold_{name}": score for name, score in known.items()}
        return scores


def _played(crew: Crew, start: Trajectory, decision: Decision) -> str:
    """The step that follows from a decision, as the evaluator reads it."""
    step = Step(decision)
    plan = plan_text(step)
    if decision.next is Next.GIVE_UP:
        return plan
    now = start.with_step(step)
    if decision.next is Next.CONCLUDE:
        return f"assistant: {plan}{END}conclusion: {_or_none(crew.conclude(now))}{END}"
    try:
        calls = crew.call(now)[:1]
    except Incomplete:
        calls = ()
    return f"assistant: {plan}{END}caller: {action_calls(calls or (ToolCall(NONE),))}{END}"


def _or_none(text: str) -> str:
    """The word that the paper's pipeline puts where nothing was said."""
    return text if text.strip() not in ("", ".", ",") else NONE


def _stratum(conversation: Conversation) -> str:
    """How a conversation ends, and after how many calls: from four on they count as alike."""
    decisions = [step.decision.next for step in conversation.steps]
    end = decisions[-1].value if decisions else "nothing"
    return f"{end} after {min(decisions.count(Next.CALL), 4)}"


def _paired(item: Item, prediction: Mapping[str, Any]) -> list[tuple[ScoredStep, Mapping[str, Any]]]:
    """Each scored step with what was said; a step without a prediction counts as an error."""
    lost = {"predictions": "", "error": str(prediction.get("error", "nothing was predicted"))}
    said = {step["turn"]: step for step in prediction.get("steps", ())}
    return [(step, said.get(step.turn, lost)) for step in item.content.steps]


def _reason(step: ScoredStep, said: Mapping[str, Any], scores: Tally) -> str:
    gold, turn = read_turn(step.reference), read_turn(said["predictions"])
    if gold.kind != turn.kind:
        return f"decided {turn.kind}, reference {gold.kind}"
    if gold.kind == "call" and gold.action != turn.action:
        invented = " (not listed)" if scores["hallu_rate"][0] else ""
        return f"called {turn.action}{invented}, reference {gold.action}"
    if gold.kind == "call" and scores["f1"][0] < 1:
        return f"arguments {turn.action_input}, reference {' '.join(gold.action_input.split())}"
    return ""
