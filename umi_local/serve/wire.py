"""OpenAI's chat completions: what is understood of a request, and the objects of an answer."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from umi_local.errors import ContextFull, UmiError
from umi_local.messages import Message, Speaker
from umi_local.stats import Stats
from umi_local.trajectory import StopReason, Trajectory

MODEL = "umi-local"
_SPEAKERS = {"user": Speaker.USER, "assistant": Speaker.CONCLUSION}
_FINISHED = {StopReason.CANCELLED: "length"}
_GAVE_UP = "The agent gave up: its tools did not bring what was asked for."  # nobody reads a reason in an empty answer


class BadRequest(Exception):
    """A sentence for who asked."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: str


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @field_validator("content", mode="before")
    @classmethod
    def _null_is_empty(cls, content: Any) -> Any:
        return "" if content is None else content

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _Format(BaseModel):
    type: Literal["text"] = "text"


class Request(BaseModel):
    """What a client asks. Sampling parameters are ignored: the agent has its own; what would change the answer's form
    and is not there is refused."""

    model_config = ConfigDict(extra="ignore")

    messages: list[_Said] = Field(min_length=1, max_length=200)
    model: str = MODEL
    stream: bool = False
    n: Literal[1] = 1
    tools: list[Any] = Field(default_factory=list, max_length=0)
    functions: list[Any] = Field(default_factory=list, max_length=0)
    tool_choice: Literal["none", "auto"] = "auto"
    response_format: _Format = _Format()
    stream_options: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, asked: Any) -> Any:
        return {name: value for name, value in asked.items() if value is not None} if isinstance(asked, dict) else asked

    @property
    def query(self) -> str:
        """The last message, with what the client's system messages say before it."""
        told = [said.text for said in self.messages if said.role in ("system", "developer")]
        return "\n\n".join([*told, self.messages[-1].text])

    @property
    def history(self) -> tuple[Message, ...]:
        """What was said before the last message."""
        earlier = self.messages[:-1]
        return tuple(Message(_SPEAKERS[said.role], said.text) for said in earlier if said.role in _SPEAKERS)


def request_of(body: bytes) -> Request:
    """Raises BadRequest, in a sentence, if the body is no request that can be answered."""
    try:
        asked = Request.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadRequest(f"{where}: {first['msg'].lower()}.") from None
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if asked.messages[-1].role != "user" or not asked.messages[-1].text.strip():
        raise BadRequest("The last message must be the user's and hold a question.")
    return asked


class Answer:
    """Makes the objects of one answer, which share an id and a time."""

    def __init__(self) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": MODEL}

    def whole(self, run: Trajectory, stats: Stats) -> dict[str, Any]:
        message = {"role": "assistant", "content": content(run)}
        choice = {"index": 0, "message": message, "finish_reason": _reason(run), "logprobs": None}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(stats)}

    def chunk(self, delta: dict[str, str], run: Trajectory | None = None) -> dict[str, Any]:
        """A piece; with `run` the last one."""
        choice = {"index": 0, "delta": delta, "finish_reason": _reason(run) if run else None, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def cost(self, stats: Stats) -> dict[str, Any]:
        """The piece that tells what a streamed answer cost, for a client that asked for it."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(stats)}


def usage(stats: Stats) -> dict[str, int]:
    """Tokens of all turns of a run: read by the model, and written."""
    written = sum(turn.sampled + turn.forced for turn in stats.turns)
    read = sum(turn.evaluated for turn in stats.turns) - written
    return {"prompt_tokens": max(0, read), "completion_tokens": written, "total_tokens": max(0, read) + written}


def content(run: Trajectory) -> str:
    """The answer, or why there is none."""
    return _GAVE_UP if run.stop is StopReason.GAVE_UP and not run.answer else run.answer


def problem(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "param": None, "code": code}}


def failure(error: UmiError) -> tuple[dict[str, Any], int]:
    """A run's error as an object and a status: too long a conversation is the client's to mend, the rest is ours."""
    if isinstance(error, ContextFull):
        return problem("invalid_request_error", error.problem, "context_length_exceeded"), 400
    return problem("server_error", str(error)), 500


def _reason(run: Trajectory) -> str:
    return _FINISHED.get(run.stop, "stop") if run.stop else "stop"
