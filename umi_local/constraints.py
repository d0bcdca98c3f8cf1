"""What a role may write, as grammars made from the style's data and the listed tools' schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from umi_local.messages import Constraint, Role, ToolSpec
from umi_local.trajectory import Next

# Small models stall on white space where a grammar lets them choose it.
_JSON_OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def constraint_for(
    role: Role,
    grammars: Mapping[str, str],
    tools: Sequence[ToolSpec],
    decisions: Iterable[Next],
    max_calls: int,
) -> Constraint:
    """The grammar of one role's turn; `decisions` are those open to the planner, `max_calls` those of one turn."""
    more = grammars.get("more", "").replace("$number", str(max_calls - 1)) if max_calls > 1 else ""
    grammar = grammars[role.value].replace("$decisions", "|".join(decisions)).replace("$more", more)
    if "$tools" in grammar:
        grammar = grammar.replace("$tools", " | ".join(_tool(spec, grammars["tool"]) for spec in tools))
    return Constraint(grammar.strip() + "\n")


def inexpressible(tool: ToolSpec, grammars: Mapping[str, str]) -> str:
    """Why a tool's calls cannot be constrained, as the grammar compiler says it; empty if they can be."""
    from llguidance import LLMatcher

    grammar = f"start: {_tool(tool, grammars['tool'])}\n"
    failed, messages = LLMatcher.validate_grammar_with_warnings(LLMatcher.grammar_from_lark(grammar))
    return " ".join(messages[0].split()) if failed and messages else ""


def _tool(spec: ToolSpec, template: str) -> str:
    parts = {
        "$name_text": _literal(spec.name),
        "$name": _literal(json.dumps(spec.name, ensure_ascii=False)),
        "$arguments": f"%json {json.dumps(_closed(spec.parameters), ensure_ascii=False)}",
    }
    # In one pass: a tool's own name or description may look like one of our marks.
    return re.sub(r"\$name_text|\$name|\$arguments", lambda found: parts[found[0]], template)


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _closed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without room for arguments that it does not name, and with white space fixed."""
    return {"additionalProperties": False, **parameters, "x-guidance": _JSON_OPTIONS}
