"""The paper's static metrics on one step, by the rules of its released evaluator (X-PLUG/Multi-LLM-Agent, f9eeef7).

A step is compared as text: `assistant: PLAN</s>caller: CALL</s>`, `assistant: PLAN</s>conclusion: ANSWER</s>`, or the
plan alone where it gives up. Nothing is normalised: `"1"` and `1` differ, and so do `Paris` and `paris`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from umi_local.evaluation.rouge import rouge_l
from umi_local.evaluation.suite import Tally

END = "</s>"
NONE = "none"
Kind = Literal["call", "finish", "give up"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a step's text means to the evaluator: a tool's name and its input as text, or an answer, or neither."""

    kind: Kind
    action: str = NONE
    action_input: str = "{}"
    answer: str = NONE


def read_turn(text: str) -> Turn:
    """The step that a text stands for; the first of give up, finish and call that fits.

    The decisions are looked for without their full stop and in the whole text, as the evaluator does, though the
    agent itself is routed by the strings with it.
    """
    if "Next: give up" in text:
        return Turn("give up")
    if "Next: conclusion" in text:
        answer = text.rpartition("conclusion: ")[2] if "conclusion:" in text else text
        return Turn("finish", answer=answer.replace(END, ""))
    # The original crashes where there is no second part.
    part = [*text.split(END), ""][1]
    _, has_input, action_input = part.rpartition("Action Input:")
    _, has_action, action = part.rpartition("Action:")
    return Turn(
        "call",
        action.partition("Action Input:")[0].strip() if has_action else NONE,
        action_input.strip() if has_input else "{}",
    )


def score_turn(tools: Collection[str], reference: str, prediction: str) -> Tally:
    """One step's scores by the evaluator's keys, and the recall of its class.

    Args:
        tools: the names listed for the step.
    """
    gold, said = read_turn(reference), read_turn(prediction)
    invented = said.kind == "call" and said.action != NONE and said.action not in tools
    right = float(gold.kind == said.kind)
    scores = {"plan_em": (right, 1.0), "hallu_rate": (float(invented), 1.0)}
    scores[f"recall_{gold.kind.replace(' ', '_')}"] = (right, 1.0)
    if gold.kind == "call":
        scores["action_em"] = (float(gold.action == said.action), 1.0)
        scores |= {key: (score, 1.0) for key, score in _argument_scores(gold, said).items()}
    elif gold.kind == "finish":
        scores["rouge"] = (rouge_l(said.answer, gold.answer), 1.0)
    return scores


def _argument_scores(gold: Turn, said: Turn) -> dict[str, float]:
    """Argument F1 and, by whether the reference is `{}`, its easy or hard part. A wrong name is put in both."""
    if gold.action != said.action:
        return {"f1": 0.0, "easy_f1": 0.0, "hard_f1": 0.0}
    try:
        expected = json.loads(gold.action_input)
    except ValueError:
        return {}
    score = argument_f1(expected, said.action_input)
    return {"f1": score, "easy_f1" if expected == {} else "hard_f1": score}


def argument_f1(expected: Any, written: str) -> float:
    """How well a call's input fits: a key with the right value counts 1, one with another value a half.

    Args:
        expected: the reference's parsed input.
        written: the prediction's input as text; what is no JSON object scores 0.
    """
    try:
        given = json.loads(written)
    except (ValueError, RecursionError):
        return 0.0
    if expected == {}:
        return float(given == {})
    if not isinstance(given, dict) or not isinstance(expected, dict):
        return 0.0
    matched = sum(1.0 if given[key] == value else 0.5 for key, value in expected.items() if key in given)
    if not matched:
        return 0.0
    precision, recall = matched / len(given), matched / len(expected)
    return 2 * precision * recall / (precision + recall)
