"""BFCL's questions as the package holds them, and its function descriptions as tools with JSON Schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umi_local.errors import UsageError
from umi_local.messages import Message, Speaker, ToolSpec
from umi_local.trajectory import Trajectory

PYTHON = ("simple_python", "multiple", "parallel", "parallel_multiple")
LIVE_PYTHON = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
NO_CALL = ("irrelevance", "live_irrelevance")
ANY_CALL = ("live_relevance",)
MULTI_TURN = ("multi_turn_base",)
CATEGORIES = (*PYTHON, "irrelevance", *LIVE_PYTHON, "live_irrelevance", *ANY_CALL, *MULTI_TURN)

# 828 live items are built on service schemas of SGD's test part, beside whose training part models may have learnt.
_SGD_NAME = re.compile(r"[A-Z][A-Za-z]+_\d+_[A-Z]")
_TYPES = {
    **dict.fromkeys(("string", "str", "char", "String"), "string"),
    **dict.fromkeys(("integer", "int", "long"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple"), "array"),
    **dict.fromkeys(("dict", "object"), "object"),
}
_KEPT = ("description", "default", "minItems", "maxItems", "minimum", "maximum")
_SPEAKERS = {"user": Speaker.USER, "assistant": Speaker.CONCLUSION}


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """One item, compared by identity.

    `entry` is the package's own; `truth` its accepted answers, None where any call, or none, is right.
    """

    category: str
    entry: Mapping[str, Any]
    truth: Sequence[Any] | None
    tools: tuple[ToolSpec, ...]

    @property
    def id(self) -> str:
        return str(self.entry["id"])

    @property
    def on_sgd(self) -> bool:
        """Whether a live item is built on a schema of SGD's test part."""
        live = self.category.startswith("live_")
        return live and any(_SGD_NAME.match(tool.name) for tool in self.tools)

    def starts(self) -> Iterator[Trajectory]:
        """What each of the user's turns begins with: system messages are context, its last message is the query."""
        for messages in self.entry["question"]:
            context = "\n".join(m["content"] for m in messages if m["role"] == "system")
            *before, query = [m for m in messages if m["role"] != "system"]
            history = tuple(Message(_SPEAKERS[m["role"]], m["content"]) for m in before)
            yield Trajectory(query["content"], self.tools, history, context)


def files(folder: Path, category: str) -> list[Path]:
    """The files of a category: its questions and, where there are any, its accepted answers."""
    name = f"BFCL_v4_{category}.json"
    has_answers = category not in (*NO_CALL, *ANY_CALL)
    return [folder / name, *([folder / "possible_answer" / name] if has_answers else [])]


def read_questions(folder: Path, category: str) -> list[Question]:
    """The questions of a category.

    Args:
        folder: the package's folder `data`.

    Raises:
        UsageError: a file is missing or of another format.
    """
    asked, *answered = files(folder, category)
    truths = {line["id"]: line["ground_truth"] for path in answered for line in _lines(path)}
    try:
        return [
            Question(category, entry, truths[entry["id"]] if answered else None, _tools(folder, entry))
            for entry in _lines(asked)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{asked} is not a file of BFCL questions: {error!r}.", "Install bfcl-eval anew.") from None


def tool_spec(function: Mapping[str, Any]) -> ToolSpec:
    """A BFCL function as a tool: `dict`, `float`, `tuple` become object, number, array; `any` leaves the type open."""
    parameters = {"properties": {}, "required": [], **_schema(function["parameters"]), "type": "object"}
    return ToolSpec(function["name"], function.get("description", ""), parameters)


def _tools(folder: Path, entry: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
    """The functions of the entry, or of the simulated classes that a multi-turn entry names."""
    if "involved_classes" not in entry:
        return tuple(map(tool_spec, entry["function"]))
    left_out = entry.get("excluded_function", ())
    functions = [f for name in entry["involved_classes"] for f in _lines(folder / "multi_turn_func_doc" / _DOCS[name])]
    return tuple(tool_spec(function) for function in functions if function["name"] not in left_out)


def _schema(described: Mapping[str, Any]) -> dict[str, Any]:
    kind = _TYPES.get(str(described.get("type")))
    schema: dict[str, Any] = {"type": kind} if kind else {}
    schema |= {key: described[key] for key in _KEPT if key in described}
    if kind == "object" and isinstance(described.get("properties"), dict):
        schema["properties"] = {name: _schema(part) for name, part in described["properties"].items()}
        schema["required"] = [name for name in described.get("required", ()) if name in schema["properties"]]
    if kind == "array" and isinstance(described.get("items"), dict):
        schema["items"] = _schema(described["items"])
    if described.get("enum"):
        _choose(schema, described["enum"])
    return schema


def _choose(schema: dict[str, Any], values: Sequence[Any]) -> None:
    """Put the allowed values into a schema; of an array some descriptions list those of its parts."""
    if schema.get("type") == "array" and not any(isinstance(value, list) for value in values):
        schema["items"] = {"enum": list(values)}
    else:
        # The values say their type themselves, and not always the one that is described.
        schema.pop("type", None)
        schema["enum"] = list(values)


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"The BFCL file {path} cannot be read: {error}.", "Install bfcl-eval anew.") from None


_DOCS = {
    "GorillaFileSystem": "gorilla_file_system.json",
    "MathAPI": "math_api.json",
    "MessageAPI": "message_api.json",
    "TwitterAPI": "posting_api.json",
    "TicketAPI": "ticket_api.json",
    "TradingBot": "trading_bot.json",
    "TravelAPI": "travel_booking.json",
    "VehicleControlAPI": "vehicle_control.json",
}
