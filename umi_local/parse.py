"""From what a role wrote to what it meant. A constrained turn always parses; these also take free text."""

from __future__ import annotations

import json
import re

from umi_local.messages import ToolCall
from umi_local.trajectory import Decision, Next

_DECISIONS = (Next.GIVE_UP, Next.CONCLUDE, Next.CALL)
_CLOSING = re.compile(rf"Next: ({'|'.join(_DECISIONS)})\.\s*$")
_ACTION = re.compile(r"Action:(?P<name>(?:(?!Action:).)*?)Action Input:(?P<arguments>.*)", re.DOTALL)


def decision(text: str) -> Decision:
    """The planner's rationale and its decision, looked for in the paper's order.

    A text without one counts as a call, as in the paper's reference code.
    """
    for option in _DECISIONS:
        rationale, found, _ = text.partition(f"Next: {option}.")
        if found:
            return Decision(rationale.strip(), option)
    return Decision(text.strip(), Next.CALL)


def closing_decision(text: str) -> Decision:
    """The decision that ends a constrained plan, whatever its rationale speaks of; else as `decision` finds it."""
    found = _CLOSING.search(text)
    return Decision(text[: found.start()].strip(), Next(found[1])) if found else decision(text)


def whole_step(text: str) -> tuple[Decision, str]:
    """A single model's turn of the chat style: its plan, a line that ends in a decision, and the call or answer."""
    plan, _, rest = text.partition("\n")
    return closing_decision(plan), rest.strip()


def paper_step(text: str) -> tuple[Decision, str]:
    """A single model's turn of the paper's style, whose decision shows in what follows the thought."""
    for mark, option in (("\nconclusion: ", Next.CONCLUDE), ("\nAction:", Next.CALL)):
        thought, found, rest = text.partition(mark)
        if found and option is Next.CONCLUDE and rest.strip().lower().startswith("give up"):
            return Decision(thought.strip(), Next.GIVE_UP), ""
        if found:
            return Decision(thought.strip(), option), rest.strip() if option is Next.CONCLUDE else f"Action:{rest}"
    return decision(text), ""


def json_calls(text: str) -> tuple[ToolCall, ...]:
    """Calls of the chat style: a JSON object with name and arguments per line.

    Raises:
        ValueError: a line is not such an object.
    """
    return tuple(_call(json.loads(line)) for line in text.strip().split("\n"))


def action_calls(text: str) -> tuple[ToolCall, ...]:
    """A call of the paper's style: what follows the last `Action:` and the last `Action Input:`.

    Raises:
        ValueError: there is no action, or its input is not a JSON object.
    """
    # Not inside the input, which is JSON and so has no line break of its own.
    begins = [match.start() for match in re.finditer(r"^Action:", text, re.MULTILINE)]
    found = _ACTION.search(text[begins[-1] if begins else max(text.rfind("Action:"), 0) :])
    if not found:
        raise ValueError("no Action and Action Input")
    arguments = json.loads(found["arguments"].strip() or "{}")
    return (_call({"name": found["name"].strip(), "arguments": arguments}),)


def _call(value: object) -> ToolCall:
    match value:
        case {"name": str(name), "arguments": dict(arguments)}:
            return ToolCall(name, arguments)
        case _:
            raise ValueError("a call is an object with name and arguments")
