"""A tool is a typed function; its schema is its signature and its description is its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from umi_local.messages import ToolSpec
from umi_local.toolbox.journal import Journal
from umi_local.toolbox.workspace import ToolError, Workspace, anything

__all__ = ["Effect", "Tool", "ToolContext", "ToolError", "tool"]


class Effect(StrEnum):
    """What a tool does to the world outside the conversation."""

    NONE = "none"
    READS = "reads"
    WRITES = "writes"
    EXECUTES = "executes"
    NETWORK = "network"


def _local_time() -> datetime:
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may touch. A function gets it by having a parameter of this type; the model never sees it.

    `clock` tells the time in the user's own zone. `journal` keeps what files held before they are changed. A call that
    leads to more than its arguments name (a folder to its files, an address to another) asks `permitted` of each,
    with the argument that would name it, in the form of the tool's `scope`. `closed` are folders that no tool may
    write to, wherever the workspace is: those with the rules that tools are held to. `stop` is set when nobody waits
    for the run any more: what takes long should look at it.
    """

    workspace: Workspace
    notes: Path
    clock: Callable[[], datetime] = _local_time
    journal: Journal | None = None
    permitted: Callable[[Mapping[str, str]], bool] = anything
    closed: Sequence[Path] = ()
    stop: Event = field(default_factory=Event)


Narrow = Callable[[ToolContext, str, str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with what the model, the approval and the command line need to know of it.

    `asks`: a person must approve each call. `enabled`: it is listed without being asked for by name.
    `preview` renders for the person what a call would do (a diff, say). `scope` gives the arguments that tell one kind
    of call from another, in a form that cannot be written in two ways: rules are compared with it, and an "always" is
    about it; without one, about all arguments. `narrow` gives a closer JSON Schema for a call that follows from a plan
    and from what was said before it, or None; it may look at what the context permits. `outside` is set where what
    comes back was written by somebody else.
    """

    function: Callable[..., Any]
    spec: ToolSpec
    arguments: type[BaseModel]
    effect: Effect
    asks: bool
    enabled: bool
    preview: Callable[[ToolContext, Mapping[str, Any]], str] | None
    context_parameter: str | None
    scope: Callable[[ToolContext, Mapping[str, Any]], Mapping[str, str]] | None = None
    outside: bool = False
    narrow: Narrow | None = None

    @property
    def untrusted(self) -> bool:
        """Whether a result may hold instructions of somebody other than the user."""
        return self.outside or self.effect is Effect.NETWORK

    @property
    def name(self) -> str:
        return self.spec.name

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them.

        Raises:
            ToolError: with a sentence per argument that does not fit the schema.
        """
        try:
            model = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(_complaints(self.name, error)) from None
        return {name: getattr(model, name) for name in type(model).model_fields}

    def call(self, context: ToolContext, arguments: Mapping[str, Any]) -> Any:
        extra = {self.context_parameter: context} if self.context_parameter else {}
        return self.function(**arguments, **extra)


def tool(
    *,
    effect: Effect = Effect.NONE,
    asks: bool = False,
    enabled: bool = True,
    preview: Callable[[ToolContext, Mapping[str, Any]], str] | None = None,
    scope: Callable[[ToolContext, Mapping[str, Any]], Mapping[str, str]] | None = None,
    narrow: Narrow | None = None,
    outside: bool = False,
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function.

    Each parameter is annotated `Annotated[type, "what it is"]`; the docstring tells the model, in a line or
    two, when the tool is the right one. A parameter of type `ToolContext` is filled in by us. A tool whose
    results others have written, such as mail, is from `outside`: after it, everything risky asks again.

    Raises:
        TypeError: the function is async; nobody would await it.
    """

    def make(function: Callable[..., Any]) -> Tool:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__name__} is async, and a tool is a plain function")
        arguments, context_parameter = _arguments_model(function)
        spec = ToolSpec(function.__name__, inspect.getdoc(function) or "", _schema(arguments))
        return Tool(
            function, spec, arguments, effect, asks, enabled, preview, context_parameter, scope, outside, narrow
        )

    return make


def _arguments_model(function: Callable[..., Any]) -> tuple[type[BaseModel], str | None]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    context_parameter = None
    for name, parameter in inspect.signature(function).parameters.items():
        if hints[name] is ToolContext:
            context_parameter = name
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[name] = (_type(hints[name]), Field(default, description=_description(hints[name])))
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model(function.__name__, __config__=config, **fields), context_parameter


def _type(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _description(hint: Any) -> str | None:
    notes = getattr(hint, "__metadata__", ())
    return next((note for note in notes if isinstance(note, str)), None)


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON Schema without what only costs tokens: titles, and the null of optional parameters."""
    schema = arguments.model_json_schema()
    properties = {name: _lean(prop) for name, prop in schema.get("properties", {}).items()}
    lean: dict[str, Any] = {"type": "object", "properties": properties, "required": schema.get("required", [])}
    if "$defs" in schema:
        lean["$defs"] = schema["$defs"]
    return lean


def _lean(prop: dict[str, Any]) -> dict[str, Any]:
    prop = {key: value for key, value in prop.items() if key not in ("title", "default")}
    options = [option for option in prop.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        prop = {**options[0], **{key: value for key, value in prop.items() if key != "anyOf"}}
    return prop


def _complaints(name: str, error: ValidationError) -> str:
    told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg'].lower()}" for e in error.errors())
    return f"The arguments of {name} do not fit: {told}."
