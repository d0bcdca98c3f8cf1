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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from umi_local.backends.answers import (
    FORMLESS,
    Written,
    as_written,
    context_of,
    is_about_length,
    json_object,
    json_schema,
)
from umi_local.backends.requests import Failed, Requests, Stopped
from umi_local.backends.server import KEY_VARIABLE, Server
from umi_local.errors import ConfigError, ContextFull, ModelFailed
from umi_local.messages import Completion, Constraint, ModelInfo, Prompt, Role, Sampling, Usage

_CHARACTERS_PER_TOKEN = 3  # fewer than any of today's vocabularies needs for English, so that a budget holds
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 600.0
_LIST_SECONDS = 30.0  # until the models must have been listed, which takes no work


class ServerBackend:
    """Takes a role's turns on a server. May be used from several threads.

    Raises:
        ConfigError: the extra is not installed, the environment's proxy or certificates cannot be used, or the server
            refuses the key or knows no such model.
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
        try:
            # What is said to stay on this computer must not go through a proxy of the environment, and what is said to
            # go to one host must not be sent on to another.
            client = openai.DefaultHttpxClient(trust_env=not server.is_this_machine, follow_redirects=False)
        # For a proxy of an unknown kind, a missing SOCKS package, a missing certificate file.
        except (ImportError, ValueError, OSError) as error:
            raise ConfigError(
                f"The server {server.host} cannot be asked with the proxy or certificate settings of the environment: "
                f"{' '.join(str(error).split())[:200]}.",
                "Correct ALL_PROXY, HTTPS_PROXY or SSL_CERT_FILE, or unset it.",
            ) from None
        self._client = openai.OpenAI(
            base_url=server.url,
            # Local servers want none, but the package wants something.
            api_key=os.environ.get(KEY_VARIABLE) or "none",
            timeout=openai.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            http_client=client,
        )
        self._client.organization = self._client.project = None  # of the environment, and another service's
        self._lock = threading.Lock()
        self._info: ModelInfo | None = None
        self._requests = Requests()
        self._schema_as = json_schema

    def describe(self, role: Role) -> ModelInfo:
        try:
            return self._described()
        except Stopped:
            raise ModelFailed(f"The server {self._server.host} had not answered when it was stopped.") from None

    def _described(self) -> ModelInfo:
        """Raises Stopped if `cancel` comes first."""
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
        try:
            model = self._described()
        except Stopped:
            return Completion("", finished=False, usage=Usage(seconds=time.monotonic() - started))
        request = {
            "model": model.name,
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
        self._requests.cancel()

    def close(self) -> None:
        self.cancel()
        self._client.close()

    def _ask_info(self) -> ModelInfo:
        timeout = self._openai.Timeout(_LIST_SECONDS, connect=_CONNECT_SECONDS)
        listed = partial(self._client.models.list, timeout=timeout)
        try:
            contexts = {str(model.id): context_of(model) for model in self._requests.sent(listed)}
        except Failed as failed:
            if isinstance(failed.error, FORMLESS):
                raise self._no_such_api() from None
            raise self._failure(failed.error, {}) from None
        except FORMLESS:
            raise self._no_such_api() from None
        if not contexts:
            raise ConfigError(f"The server {self._server.host} has no model.", "Load one there.")
        wanted = self._server.model or next(iter(contexts))
        if wanted not in contexts:
            known = f"It has: {', '.join(list(contexts)[:8])}."
            raise ConfigError(f"The server {self._server.host} has no model {wanted!r}.", known)
        return ModelInfo(wanted, contexts[wanted])

    def _no_such_api(self, told: str = "") -> ConfigError:
        """It answered, but not as this API does."""
        said = f": {told}" if told else "."
        return ConfigError(f"{self._server.url} is no address of this API{said}", "Most end in /v1.")

    def _write(
        self, request: dict[str, Any], schema: Mapping[str, Any] | None, on_text: Callable[[str], None]
    ) -> Written:
        if schema is None:
            return self._stream(request, on_text)
        try:
            return self._stream({**request, "response_format": self._schema_as(schema)}, on_text)
        except _FormRefused:
            # Some servers take a schema only in the form that came before the present one.
            written = self._stream({**request, "response_format": json_object(schema)}, on_text)
        self._schema_as = json_object
        return written

    def _stream(self, request: dict[str, Any], on_text: Callable[[str], None]) -> Written:
        """Raises _FormRefused where another form of the schema may do."""
        written = Written()
        try:
            for chunk in self._requests.sent(lambda: self._chunks(request)):
                try:
                    added = written.take(chunk)
                except FORMLESS:
                    raise self._broken_off() from None
                if added:
                    on_text(added)
        except Failed as failed:
            raise self._failure(failed.error, request) from None
        except Stopped:
            written.finished = False
            return written
        if not written.ended:
            raise self._broken_off()
        return written

    def _chunks(self, request: Mapping[str, Any]) -> Iterator[Any]:
        with self._client.chat.completions.create(**request) as stream:
            yield from stream

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
            return as_written(role, json.loads(text))
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
            return self._no_such_api(told)
        if isinstance(error, openai.APIStatusError) and is_about_length(told):
            return ContextFull(f"The conversation does not fit the context of {host}: {told}", "Start a new session.")
        return ModelFailed(f"The server {host} failed: {told}", "Ask again, or look into its log.")


class _FormRefused(Exception):
    """The server does not know this form of `response_format`."""
