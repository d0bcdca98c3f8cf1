"""The words of the agent as values: who speaks, what is called, what comes back, what a prompt is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """Whose turn it is. `SINGLE` is the paper's single-LLM baseline: plan, call and answer in one turn."""

    PLANNER = "planner"
    CALLER = "caller"
    SUMMARIZER = "summarizer"
    SINGLE = "single"


TEAM = (Role.PLANNER, Role.CALLER, Role.SUMMARIZER)


class Speaker(StrEnum):
    """Who said a message of the conversation."""

    CONTEXT = "context"
    USER = "user"
    PLANNER = "planner"
    CALLER = "caller"
    OBSERVATION = "observation"
    CONCLUSION = "conclusion"


@dataclass(frozen=True, slots=True)
class Message:
    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told of a tool. `parameters` is a JSON Schema (draft 2020-12) of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


NO_CALL = ToolCall("none")  # stands in a step whose caller wrote none that is whole


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool gave back. Its content comes from outside and is never trusted as markup.

    `found` are tools that were looked for and can be called from then on. `changes` is what a call that writes was
    about to change (a diff), for people: no prompt holds it.
    """

    content: str
    is_error: bool = False
    denied: bool = False
    found: tuple[ToolSpec, ...] = ()
    changes: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt. Only in a trusted one are special tokens parsed."""

    text: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message as chat servers take it. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """`trunk` is what the roles share and only grows at its end; `suffix` names the role whose turn it is.

    The first `constant` segments of the trunk begin every conversation with these tools, so they are worth keeping
    between processes; 0 where the markup does not tell. `messages` is the same for a server that applies the model's
    chat template itself; empty where the prompt is for a model in this machine's memory.
    """

    trunk: tuple[Segment, ...]
    suffix: tuple[Segment, ...]
    constant: int = 0
    messages: tuple[ChatMessage, ...] = ()

    @property
    def text(self) -> str:
        """The prompt as a reader sees it; not what is tokenised."""
        return "".join(s.text for s in self.trunk + self.suffix)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a turn may write: a grammar in llguidance's dialect of Lark.

    `schema` is the JSON Schema by which a chat server is held to the same; None where any text may be written.
    """

    grammar: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest; `max_tokens` bounds the turn."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and seconds of one turn.

    `trunk` is the trunk's length; `evaluated` were read or written by the model, `reused` were found in its
    cache. Of those written, `sampled` were chosen by the model, `forced` by the constraint; `accepted` of the
    `drafted` ones were proposals that the model agreed with.
    """

    trunk: int = 0
    evaluated: int = 0
    reused: int = 0
    sampled: int = 0
    forced: int = 0
    drafted: int = 0
    accepted: int = 0
    seconds: float = 0.0
    load_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a turn wrote. `finished` is false when `max_tokens` cut it or it was cancelled.

    `notes` are sentences for the user, such as that a model could not be loaded as asked for.
    """

    text: str
    finished: bool
    usage: Usage = Usage()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the renderer and the budget need to know of a loaded model."""

    name: str
    context_tokens: int
    chat_template: str = ""
    end_of_turn: str = ""
