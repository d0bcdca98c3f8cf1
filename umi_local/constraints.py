"""What a role may write, as grammars made from the style's data, the listed tools and how far the run is."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from umi_local.messages import Constraint, Role, Speaker, ToolSpec
from umi_local.styles.data import Language, Plans, Stage
from umi_local.trajectory import Decision, Next, Trajectory

# Small models stall on white space where a grammar lets them choose it.
_COMPACT = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}
_STEPS = {Next.CALL: "acts calls", Next.CONCLUDE: "concludes answer", Next.GIVE_UP: "gives_up"}


def constraint_for(
    role: Role, language: Language, trajectory: Trajectory, choices: Collection[Next], max_calls: int
) -> Constraint:
    """The grammar of one role's turn; `choices` are the decisions open to it, `max_calls` the calls of one turn."""
    tools, plans = trajectory.callable_tools, _plans(language, trajectory)
    if role is Role.CALLER and language.caller_follows:
        tools = _named(trajectory) or tools
    forms = _forms(plans)
    open_choices = [choice for choice in Next if choice in choices and forms[choice] is not None]
    parts = {
        "$plans": "|".join(f"({forms[choice]}) Next: {choice}" for choice in open_choices),
        "$steps": " | ".join(_STEPS[choice] for choice in open_choices),
        "$call": plans.call,
        "$conclude": plans.conclude,
        "$give_up": plans.give_up or plans.conclude,
        "$more": language.grammars.get("more", "").replace("$number", str(max_calls - 1)) if max_calls > 1 else "",
        "$tools": " | ".join(_tool(spec, language.grammars["tool"], trajectory.narrowed) for spec in tools) or '""',
    }
    grammar = _filled(language.grammars[role.value], parts).strip() + "\n"
    return Constraint(grammar, _schema(role, tools, open_choices, max_calls))


def may_plan(language: Language, trajectory: Trajectory, decision: Decision) -> bool:
    """Whether a planner at this point of a run could write this rationale and decision."""
    form = _forms(_plans(language, trajectory))[decision.next]
    return form is not None and re.fullmatch(form, decision.rationale) is not None


def inexpressible(tool: ToolSpec, language: Language) -> str:
    """Why a tool's calls cannot be constrained, as the grammar compiler says it; empty if they can be."""
    from llguidance import LLMatcher

    grammar = f"start: {_tool(tool, language.grammars['tool'])}\n"
    failed, messages = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_lark(grammar))
    return " ".join(messages[0].split()) if failed and messages else ""


def _schema(role: Role, tools: Sequence[ToolSpec], choices: Sequence[Next], max_calls: int) -> dict[str, Any] | None:
    """What the grammar of the role's turn allows, as a JSON Schema; a server's text is put into our form afterwards."""
    shared: dict[str, Any] = {}
    each = [
        _object(name={"const": spec.name}, arguments=_moved(_closed(spec.parameters), f"tool{number}.", shared))
        for number, spec in enumerate(tools)
    ]
    any_call = {"anyOf": each}
    calls = {"type": "array", "items": any_call, "minItems": 1, "maxItems": max_calls}
    rationale = {"type": "string"}
    rest: dict[Next, dict[str, Any]] = {
        Next.CALL: {"calls": calls},
        Next.CONCLUDE: {"answer": {"type": "string"}},
        Next.GIVE_UP: {},
    }
    match role:
        case Role.PLANNER:
            return _object(rationale=rationale, next={"enum": [choice.value for choice in choices]})
        case Role.CALLER:
            return {**_object(calls=calls), **_definitions(shared)}
        case Role.SINGLE:
            steps = [_object(rationale=rationale, next={"const": each.value}, **rest[each]) for each in choices]
            return {"anyOf": steps, **_definitions(shared)}
        case Role.SUMMARIZER:
            return None


def _definitions(shared: Mapping[str, Any]) -> dict[str, Any]:
    return {"$defs": dict(shared)} if shared else {}


def _moved(schema: dict[str, Any], prefix: str, shared: dict[str, Any]) -> Any:
    """A tool's schema whose definitions go to those of the whole, since references are looked up from its root."""

    def renamed(part: Any) -> Any:
        if isinstance(part, list):
            return [renamed(item) for item in part]
        if not isinstance(part, dict):
            return part
        kept = {key: renamed(value) for key, value in part.items()}
        if isinstance(part.get("$ref"), str):
            kept["$ref"] = part["$ref"].replace("#/$defs/", f"#/$defs/{prefix}", 1)
        return kept

    found = renamed(schema)
    shared |= {f"{prefix}{name}": value for name, value in found.pop("$defs", {}).items()}
    return found


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _plans(language: Language, trajectory: Trajectory) -> Plans:
    """The forms of a rationale at this point of the run, with the tools' names filled in."""
    plans = language.plans.get(_stage(trajectory)) or language.plans["always"]
    names = "|".join(re.escape(tool.name) for tool in trajectory.callable_tools)
    return Plans(**{name: form and form.replace("$names", names) for name, form in plans})


def _stage(trajectory: Trajectory) -> Stage:
    if trajectory.steps:
        seen = trajectory.steps[-1].observations
        return "first" if not seen else "after_error" if seen[-1].is_error else "after_result"
    # Without a query of its own it goes on with the last one of its history, which may have results already.
    told = [message.speaker for message in trajectory.history]
    since = told[len(told) - told[::-1].index(Speaker.USER) :] if Speaker.USER in told else told
    return "after_result" if not trajectory.query and Speaker.OBSERVATION in since else "first"


def _forms(plans: Plans) -> dict[Next, str | None]:
    return {Next.CALL: plans.call, Next.CONCLUDE: plans.conclude, Next.GIVE_UP: plans.give_up}


def _named(trajectory: Trajectory) -> tuple[ToolSpec, ...]:
    """The tools that the last rationale names word for word."""
    words = set(re.findall(r"[^\s.,;:]+", trajectory.steps[-1].decision.rationale)) if trajectory.steps else set()
    return tuple(tool for tool in trajectory.callable_tools if tool.name in words)


def _tool(spec: ToolSpec, template: str, narrowed: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> str:
    parameters = _closed(narrowed.get(spec.name, spec.parameters))
    parts = {
        "$name_text": _literal(spec.name),
        "$name": _literal(json.dumps(spec.name, ensure_ascii=False)),
        "$arguments": f"%json {json.dumps(parameters | _COMPACT, ensure_ascii=False)}",
    }
    return _filled(template, parts)


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with its marks filled in, in one pass: a tool's own name may look like a mark."""
    marks = "|".join(re.escape(mark) for mark in sorted(parts, key=len, reverse=True))
    return re.sub(marks, lambda found: parts[found[0]], template)


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _closed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without room for arguments that it does not name."""
    return {"additionalProperties": False, **parameters}
