"""A role on any server that speaks OpenAI's chat API: llama-server, vLLM, Ollama, LM Studio and others.

The server applies the model's chat template to messages, and holds a turn to a JSON Schema by its own means; what comes
back is put into the form that a local model writes. The `openai` package does the talking: retries with backoff,
time-outs, streaming. It comes with the extra [servers].
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from umi_local.backends.server import KEY_VARIABLE, Server
from umi_local.errors import ConfigError, ContextFull, ModelFailed
from umi_local.messages import Completion, Constraint, ModelInfo, Prompt, Role, Sampling, ToolCall, Usage
from umi_local.prompts import json_calls, plan_text
from umi_local.trajectory import Decision, Next, Step

_CONTEXT = 8192  # tokens, where the server does not tell
_CHARACTERS_PER_TOKEN = 3  # fewer than any of today's vocabularies needs for English, so that a budget holds
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 600.0


class ServerBackend:
    """Takes a role's turns on a server. May be used from several threads.

    Raises:
        ConfigError: the extra is not installed, or the server refuses the key or knows no such model.
        ModelFailed: it cannot be reached, fails, or does not hold to a JSON Schema.
    """

    def __init__(self, server: Server) -> None:
        try:
            import openai
        except ImportError:
            raise ConfigError(
                "A model on a server needs more than is installed.", "Run: pip install 'umi-local[servers]'"
            ) from None
        self._openai = openai
        self._server = server
        self._client = openai.OpenAI(
            base_url=server.url,
            # Local servers want none, but the package wants something.
            api_key=os.environ.get(KEY_VARIABLE) or "none",
            timeout=openai.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            # What is said to stay on this computer must not go through a proxy of the environment, and what is said to
            # go to one host must not be sent on to another.
            http_client=openai.DefaultHttpxClient(trust_env=not server.is_this_machine, follow_redirects=False),
        )
        self._client.organization = self._client.project = None  # of the environment, and another service's
        self._lock = threading.Lock()
        self._info: ModelInfo | None = None
        self._turns: set[_Turn] = set()
        self._schema_as = _json_schema

    def describe(self, role: Role) -> ModelInfo:
        with self._lock:
            if self._info is None:
                self._info = self._ask_info()
            return self._info

    def count(self, role: Role, text: str) -> int:
        """An estimate, on the high side: the server's vocabulary is not known here."""
        return -(-len(text) // _CHARACTERS_PER_TOKEN)

    def complete(
        self,
        role: Role,
        prompt: Prompt,
        constraint: Constraint | None,
        sampling: Sampling,
        on_token: Callable[[str], None] = lambda _: None,
    ) -> Completion:
        started = time.monotonic()
        schema = constraint.schema if constraint else None
        request = {
            "model": self.describe(role).name,
            "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "max_tokens": sampling.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        # JSON on its way to become a plan is nothing to read.
        written = self._write(request, schema, on_token if schema is None else lambda _: None)
        text = written.text
        if schema is not None and written.finished:
            text = self._in_our_form(role, text)
            on_token(text)
        elif schema is not None:
            text = ""
        return Completion(text, written.finished, written.usage(time.monotonic() - started))

    def cancel(self) -> None:
        """Stop every turn at once; its server hears of it when it next sends something."""
        for turn in list(self._turns):
            turn.cancelled = True
            turn.pieces.put(None)

    def close(self) -> None:
        self.cancel()
        self._client.close()

    def _ask_info(self) -> ModelInfo:
        try:
            served = list(self._client.models.list())
        except self._openai.OpenAIError as error:
            raise self._translated(error) from None
        except (AttributeError, TypeError, ValueError):  # it answered, but not as this API does
            raise ConfigError(f"{self._server.url} is no address of this API.", "Most end in /v1.") from None
        names = [model.id for model in served]
        wanted = self._server.model or (names[0] if names else "")
        if wanted not in names:
            known = f"It has: {', '.join(names[:8])}." if names else "It has none."
            raise ConfigError(f"The server {self._server.host} has no model {wanted!r}.", known)
        return ModelInfo(wanted, _context_of(served[names.index(wanted)]))

    def _write(
        self, request: dict[str, Any], schema: Mapping[str, Any] | None, on_text: Callable[[str], None]
    ) -> _Written:
        if schema is None:
            return self._stream(request, on_text)
        try:
            return self._stream({**request, "response_format": self._schema_as(schema)}, on_text)
        except _FormRefused:
            # Some servers take a schema only in the form that came before the present one.
            written = self._stream({**request, "response_format": _json_object(schema)}, on_text)
        self._schema_as = _json_object
        return written

    def _stream(self, request: dict[str, Any], on_text: Callable[[str], None]) -> _Written:
        """Raises _FormRefused where another form of the schema may do."""
        written, turn = _Written(), _Turn()
        self._turns.add(turn)
        # A thread that may be left behind: nothing wakes it while the server sends nothing.
        threading.Thread(target=self._read, args=(request, turn), daemon=True).start()
        try:
            while (piece := turn.pieces.get()) is not None and not turn.cancelled:
                if isinstance(piece, Exception):
                    raise self._failure(piece, request) from None
                written.take(piece, on_text)
        finally:
            self._turns.discard(turn)
        if not written.ended and not turn.cancelled:
            raise self._broken_off()
        written.finished = written.finished and not turn.cancelled
        return written

    def _read(self, request: Mapping[str, Any], turn: _Turn) -> None:
        """Hand on what the server answers, piece by piece, then None or what went wrong."""
        try:
            with self._client.chat.completions.create(**request) as stream:
                for chunk in stream:
                    if turn not in self._turns:  # nobody reads it any more
                        return
                    turn.pieces.put(chunk)
            turn.pieces.put(None)
        except Exception as error:  # a connection that breaks shows as any of several packages' errors
            turn.pieces.put(error)

    def _broken_off(self) -> ModelFailed:
        return ModelFailed(f"The server {self._server.host} broke off its answer.", "Ask again, or see its log.")

    def _failure(self, error: Exception, request: Mapping[str, Any]) -> Exception:
        if not isinstance(error, self._openai.OpenAIError):
            return self._broken_off()
        if request.get("response_format", {}).get("type") == "json_schema" and "response_format" in str(error):
            return _FormRefused()
        return self._translated(error)

    def _in_our_form(self, role: Role, text: str) -> str:
        try:
            return _as_written(role, json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelFailed(
                f"The server {self._server.host} does not hold its model to a JSON Schema.",
                "Use one that supports response_format with json_schema.",
            ) from None

    def _translated(self, error: Exception) -> Exception:
        openai, host = self._openai, self._server.host
        told = " ".join(str(error).split())[:300]
        if isinstance(error, openai.APITimeoutError):
            return ModelFailed(f"The server {host} did not answer in time.", "Ask again, or see what it is doing.")
        if isinstance(error, openai.APIConnectionError):
            return ModelFailed(f"The server {host} cannot be reached.", "Start it, or correct its address.")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return ConfigError(f"The server {host} refused the key.", f"Put the right one into {KEY_VARIABLE}.")
        if isinstance(error, openai.NotFoundError):
            return ConfigError(f"{self._server.url} is no address of this API: {told}", "Most end in /v1.")
        if isinstance(error, openai.APIStatusError) and _is_about_length(told):
            return ContextFull(f"The conversation does not fit the context of {host}: {told}", "Start a new session.")
        return ModelFailed(f"The server {host} failed: {told}", "Ask again, or look into its log.")


@dataclass(eq=False)
class _Turn:
    """A turn that is going on, with what its server has sent: chunks, then None or an error."""

    pieces: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    cancelled: bool = False


class _FormRefused(Exception):
    """The server does not know this form of `response_format`."""


@dataclass
class _Written:
    """What a stream has brought so far."""

    text: str = ""
    ended: bool = False
    finished: bool = False
    told: Any = None

    def take(self, chunk: Any, on_text: Callable[[str], None]) -> None:
        self.told = getattr(chunk, "usage", None) or self.told
        for choice in chunk.choices[:1]:
            if choice.delta and choice.delta.content:
                self.text += choice.delta.content
                on_text(choice.delta.content)
            self.ended = self.ended or choice.finish_reason is not None
            self.finished = self.finished or choice.finish_reason == "stop"

    def usage(self, seconds: float) -> Usage:
        if self.told is None:
            return Usage(seconds=seconds)
        read, wrote = self.told.prompt_tokens or 0, self.told.completion_tokens or 0
        details = getattr(self.told, "prompt_tokens_details", None)
        reused = (getattr(details, "cached_tokens", None) or 0) if details else 0
        return Usage(trunk=read, evaluated=read - reused + wrote, reused=reused, sampled=wrote, seconds=seconds)


def _as_written(role: Role, data: Mapping[str, Any]) -> str:
    """JSON that fits a turn's schema as a local model would have written the turn."""
    calls = [ToolCall(call["name"], dict(call["arguments"])) for call in data.get("calls", ())]
    if role is Role.CALLER:
        return json_calls(calls)
    rationale = " ".join(data["rationale"].split())
    plan = plan_text(Step(Decision(rationale, Next(data["next"]))))
    rest = json_calls(calls) if calls else data.get("answer", "")
    return f"{plan}\n{rest}".strip() if role is Role.SINGLE else plan


def _json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "turn", "schema": dict(schema)}}


def _json_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_object", "schema": dict(schema)}


def _is_about_length(told: str) -> bool:
    said = told.lower()
    return "context" in said and any(word in said for word in ("exceed", "length", "too long", "maximum", "larger"))


def _context_of(model: Any) -> int:
    """The context in tokens, where a server tells it beside the model's name."""
    extra = getattr(model, "model_extra", None) or {}
    meta: Any = extra.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    found = extra.get("max_model_len") or meta.get("n_ctx") or meta.get("n_ctx_train") or _CONTEXT
    return int(found)
