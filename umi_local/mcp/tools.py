"""What MCP servers offer, as tools of ours: pinned when a person trusts them, narrowed, validated, always outside."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from pydantic import BaseModel

from umi_local import atomic
from umi_local.mcp.connection import Connection
from umi_local.mcp.servers import ServerFile
from umi_local.messages import ToolSpec
from umi_local.paths import cannot_write
from umi_local.toolbox import Effect, Tool, ToolContext, ToolError

_LONGEST_DESCRIPTION = 400  # characters; a small model reads every one of them at every turn
_LONGEST_NAME = 64
_LARGEST_SCHEMA = 20_000  # characters
_DEEPEST = 12
_HERE = "#/$defs/"
# What holds schemas by names, which may be called as keywords are, and what holds values, which are no schemas.
_NAMED = ("properties", "$defs", "patternProperties", "dependentSchemas")
_VALUES = ("enum", "const")
# What only costs tokens, or what llguidance's grammars do not know: the server checks it anyway.
_DROPPED = {"$schema", "$id", "$comment", "title", "default", "examples", "format", "pattern", "deprecated", "readOnly"}


@dataclass(frozen=True, slots=True)
class Offer:
    """One tool as its server described it, and what we make of it. `problem` says why it cannot be used."""

    server: str
    described: Mapping[str, Any]
    problem: str = ""

    @property
    def name(self) -> str:
        """The name that models and rules know: `server__tool`."""
        plain = re.sub(r"\W+", "_", str(self.described["name"]), flags=re.ASCII).strip("_")
        return f"{prefix_of(self.server)}{plain}"[:_LONGEST_NAME]

    @property
    def digest(self) -> str:
        """What tells this description from any other."""
        return hashlib.sha256(json.dumps(self.described, sort_keys=True).encode()).hexdigest()

    def spec(self) -> ToolSpec:
        """What the model is told. Raises ToolError if the schema is none that a call can be held to."""
        return ToolSpec(self.name, plain_text(self.described["description"]), narrowed(self.described["parameters"]))


class SchemaTool(Tool):
    """A tool whose arguments are checked against a JSON Schema instead of a function's types."""

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from jsonschema import Draft202012Validator
        from referencing.exceptions import Unresolvable

        try:
            problems = list(Draft202012Validator(dict(self.spec.parameters)).iter_errors(dict(arguments)))
        except (Unresolvable, RecursionError) as error:
            told = f"The arguments of {self.name} cannot be checked by its schema: {type(error).__name__}."
            raise ToolError(told) from None
        if problems:
            told = "; ".join(f"{problem.json_path}: {problem.message}" for problem in problems[:3])
            raise ToolError(f"The arguments of {self.name} do not fit: {told}.")
        return dict(arguments)

    def call(self, context: ToolContext, arguments: Mapping[str, Any]) -> Any:
        return self.function(arguments, context.stop)


class Manager:
    """The connections of this process, each opened when it is first needed."""

    def __init__(self, file: ServerFile) -> None:
        self._file = file
        self._connections: dict[str, Connection] = {}
        self._checked: dict[str, dict[str, str]] = {}

    def connection(self, server: str) -> Connection:
        if server not in self._connections:
            self._connections[server] = Connection(server, self._file.read()[server])
        return self._connections[server]

    def call(self, server: str, tool: str, digest: str, arguments: Mapping[str, Any], stop: Event | None = None) -> str:
        """Call a tool, if its server still describes it as it did when it was trusted.

        Raises:
            ToolError: it does not, or the call failed.
        """
        connection = self.connection(server)
        if server not in self._checked:
            offers = (Offer(server, described) for described in connection.tools(stop))
            self._checked[server] = {str(offer.described["name"]): offer.digest for offer in offers}
        if self._checked[server].get(tool) != digest:
            remedy = f"Look at what it says now: umi-local tools trust {server}"
            raise ToolError(f"The server {server} describes {tool} differently from when it was trusted. {remedy}")
        try:
            return connection.call(tool, arguments, stop)
        except ToolError:
            self._checked.pop(server, None)  # a server that is started again may be another one
            raise

    def offers(self, server: str) -> list[Offer]:
        """What a server offers now. Raises ToolError if it cannot be asked."""
        offers: list[Offer] = []
        for described in self.connection(server).tools():
            offer = _judged(Offer(server, described))
            if not offer.problem and any(other.name == offer.name for other in offers if not other.problem):
                offer = Offer(server, described, "another of its tools has the same name for models")
            offers.append(offer)
        return offers

    def state(self, server: str, pins: Path) -> str:
        """Whether a server answers, and still describes what was trusted of it as it did then, in words."""
        try:
            now = {offer.digest for offer in self.offers(server)}
        except ToolError as error:
            return str(error)
        changed = len({Offer(server, described).digest for described in _pinned(pins).get(server, [])} - now)
        answers = f"answers with {len(now)} {'tool' if len(now) == 1 else 'tools'}"
        if not changed:
            return answers
        gone = "1 trusted tool is gone or has" if changed == 1 else f"{changed} trusted tools are gone or have"
        return f"{answers}; {gone} changed. Look at what they say now: umi-local tools trust {server}"

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def trust(pins: Path, server: str, offers: Iterable[Offer]) -> None:
    """Remember what a person has seen of a server's tools; only that will be called.

    Raises:
        StorageError: it cannot be written down.
    """
    kept = {**_pinned(pins), server: [dict(offer.described) for offer in offers if not offer.problem]}
    try:
        atomic.write(pins, json.dumps(kept).encode())
    except OSError as error:
        raise cannot_write(pins, error) from error


def tools_of(manager: Manager, file: ServerFile, pins: Path) -> tuple[Tool, ...]:
    """The trusted tools of all servers that are on, as far as they can be used. No server is started for it."""
    known = _pinned(pins)
    servers = {name for name, server in file.read().items() if not server.disabled}
    tools: dict[str, Tool] = {}
    for server in sorted(servers & set(known)):
        for described in known[server]:
            offer = _judged(Offer(server, described))
            if not offer.problem:
                tools.setdefault(offer.name, _tool(manager, offer))
    return tuple(tools.values())


def trusted_names(pins: Path) -> dict[str, list[str]]:
    """Of each server the tools that were trusted, as the server calls them."""
    return {server: [str(described["name"]) for described in listed] for server, listed in _pinned(pins).items()}


def prefix_of(server: str) -> str:
    """How the names begin that models and rules know a server's tools by."""
    return f"{server.replace('-', '_')}__"


def narrowed(schema: Any) -> dict[str, Any]:
    """A JSON Schema without what a grammar cannot hold a call to, closed for other keys.

    Raises:
        ToolError: it is none of an object, too large, too deep, no valid schema, or refers to what is elsewhere.
    """
    from jsonschema import Draft202012Validator, SchemaError

    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise ToolError("its arguments are not described as an object")
    if len(json.dumps(schema)) > _LARGEST_SCHEMA:
        raise ToolError("its schema is too large")
    found = _narrow(schema, 0)
    assert isinstance(found, dict)
    try:
        Draft202012Validator.check_schema(found)
    except SchemaError:
        raise ToolError("its schema is not one of JSON Schema's draft 2020-12") from None
    return {"type": "object", "properties": {}, "required": [], **found, "additionalProperties": False}


def plain_text(text: Any) -> str:
    """A description without control characters and of moderate length."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_DESCRIPTION else f"{shown[:_LONGEST_DESCRIPTION]}..."


def _narrow(schema: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ToolError("its schema is nested too deeply")
    if isinstance(schema, list):
        return [_narrow(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = _of_today(schema)
    if not str(schema.get("$ref", _HERE)).startswith(_HERE):
        raise ToolError("its schema refers to another document")
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED:
            if not isinstance(value, dict):
                raise ToolError(f"its {key} are not described by name")
            kept[key] = {name: _narrow(inner, depth + 1) for name, inner in value.items()}
        elif key not in _DROPPED:
            kept[key] = value if key in _VALUES else _narrow(value, depth + 1)
    if "description" in kept and isinstance(kept["description"], str):
        kept["description"] = plain_text(kept["description"])
    return kept


def _of_today(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose definitions stand where they did up to draft 7 as draft 2020-12 has it."""
    found = {"$defs" if key == "definitions" else key: value for key, value in schema.items()}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = re.sub("^#/definitions/", _HERE, found["$ref"])
    return found


def _tool(manager: Manager, offer: Offer) -> Tool:
    call = partial(manager.call, offer.server, str(offer.described["name"]), offer.digest)
    return SchemaTool(
        function=call,
        spec=offer.spec(),
        arguments=BaseModel,
        effect=Effect.NETWORK,
        asks=True,
        enabled=True,
        preview=None,
        context_parameter=None,
        outside=True,
    )


def _judged(offer: Offer) -> Offer:
    try:
        offer.spec()
    except (ToolError, RecursionError) as error:
        return Offer(offer.server, offer.described, str(error) or "its schema is nested too deeply")
    return offer


def _pinned(pins: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        found = json.loads(pins.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing is trusted that cannot be read
        return {}
    return found if isinstance(found, dict) else {}
