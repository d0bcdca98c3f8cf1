"""What servers with OpenAI's chat API send, read, and the forms in which they take a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from umi_local.messages import Role, ToolCall, Usage
from umi_local.prompts import json_calls, plan_text
from umi_local.trajectory import Decision, Next, Step

_CONTEXT = 8192  # tokens, where the server does not tell
# What reading an answer of another form than this API's ends in.
FORMLESS = (AttributeError, TypeError, ValueError)


@dataclass
class Written:
    """What a stream has brought so far."""

    text: str = ""
    ended: bool = False
    finished: bool = False
    told: Any = None

    def take(self, chunk: Any) -> str:
        """The text that a chunk adds. Raises one of FORMLESS if it has another form."""
        before = self.text
        self.told = getattr(chunk, "usage", None) or self.told
        for choice in chunk.choices[:1]:
            if choice.delta and choice.delta.content:
                self.text += choice.delta.content
            self.ended = self.ended or choice.finish_reason is not None
            self.finished = self.finished or choice.finish_reason == "stop"
        return self.text[len(before) :]

    def usage(self, seconds: float) -> Usage:
        try:
            read, wrote = int(self.told.prompt_tokens or 0), int(self.told.completion_tokens or 0)
            details = getattr(self.told, "prompt_tokens_details", None)
            reused = int((getattr(details, "cached_tokens", None) or 0) if details else 0)
        except FORMLESS:  # None, where nothing was told
            return Usage(seconds=seconds)
        return Usage(trunk=read, evaluated=read - reused + wrote, reused=reused, sampled=wrote, seconds=seconds)


def as_written(role: Role, data: Mapping[str, Any]) -> str:
    """JSON that fits a turn's schema as a local model would have written the turn."""
    calls = [ToolCall(call["name"], dict(call["arguments"])) for call in data.get("calls", ())]
    if role is Role.CALLER:
        return json_calls(calls)
    rationale = " ".join(data["rationale"].split())
    plan = plan_text(Step(Decision(rationale, Next(data["next"]))))
    rest = json_calls(calls) if calls else data.get("answer", "")
    return f"{plan}\n{rest}".strip() if role is Role.SINGLE else plan


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "turn", "schema": dict(schema)}}


def json_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_object", "schema": dict(schema)}


def is_about_length(told: str) -> bool:
    said = told.lower()
    return "context" in said and any(word in said for word in ("exceed", "length", "too long", "maximum", "larger"))


def context_of(model: Any) -> int:
    """The context in tokens, where a server tells it beside the model's name."""
    extra = getattr(model, "model_extra", None) or {}
    meta: Any = extra.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    found = extra.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train") or _CONTEXT
    return int(found)
