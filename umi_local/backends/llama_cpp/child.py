"""The model's process: JSON requests in, one per line, JSON replies out.

    {"id": 1, "op": "describe", "role": "planner"}             -> {"id": 1, "result": {...}}
    {"id": 1, "op": "limits", "role": "planner"}               -> {"id": 1, "result": {"read", "write", ...}}
    {"id": 2, "op": "complete", "role": ..., "trunk": ...}     -> {"id": 2, "text": "..."}*, {"id": 2, "result": {...}}
    {"op": "cancel"}                                           stops the turn that is being written
    anything that fails                                        -> {"id": N, "error": {"kind", "problem", "remedy"}}

The first line holds the roles' model specs, where snapshots and thread counts are kept and which features are on.
The end of the input ends the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llama_cpp

from umi_local.backends.llama_cpp.context import CancelFlag, Cancelled, Context, shared_prefix
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import DEFAULT_CONTEXT, Features, ModelSpec
from umi_local.backends.llama_cpp.weights import Weights
from umi_local.backends.llama_cpp.writer import Written, write
from umi_local.errors import ContextFull, UmiError
from umi_local.messages import Completion, Constraint, Role, Sampling, Segment, Usage

_WARNING = 3  # ggml's log level
_LIMIT_READ, _LIMIT_WRITE = 512, 64  # tokens, as llama-bench's defaults


class Engine:
    """The loaded models and their caches; one of each file, however many roles play on it."""

    def __init__(
        self, specs: dict[Role, ModelSpec], snapshots: Snapshots | None, features: Features, tuning: Path | None
    ) -> None:
        self.cancel = CancelFlag()
        self._snapshots = snapshots if features.sharing else None
        self._features = features
        self._tuning = tuning
        self._specs = specs
        self._weights: dict[str, Weights] = {}
        self._contexts: dict[tuple[str, str | None], Context] = {}

    def describe(self, role: Role) -> dict[str, Any]:
        return asdict(self._weights_of(role).info(self._context_tokens(role)))

    def count(self, role: Role, text: str) -> int:
        return self._weights_of(role).count(text)

    def complete(
        self,
        role: Role,
        trunk: list[Segment],
        suffix: list[Segment],
        constraint: Constraint | None,
        sampling: Sampling,
        on_text: Any,
        constant: int = 0,
        recorded: str | None = None,
    ) -> Completion:
        """Write a turn. The first `constant` segments of the trunk are worth keeping between processes."""
        before_load = time.monotonic()
        context, adapter = self._context_of(role)
        started = time.monotonic()
        trunk_ids, suffix_ids = self._tokens(role, trunk, suffix)
        if len(trunk_ids) + len(suffix_ids) + sampling.max_tokens > context.tokens:
            raise ContextFull(
                f"The conversation needs {len(trunk_ids) + len(suffix_ids) + sampling.max_tokens} tokens and the"
                f" context has {context.tokens}.",
                "Start a new session or ask in smaller parts.",
            )
        activated = adapter is not None and adapter.activated
        beginning = shared_prefix(trunk_ids, self._weights_of(role).tokenize(trunk[:constant]) if constant else [])
        if not self._features.sharing:
            context.forget()
        try:
            reused = context.advance_trunk(trunk_ids, None if activated else adapter, beginning)
            context.fork(adapter)
            written = write(context, suffix_ids, constraint, sampling, self.cancel, on_text, self._features, recorded)
        except Cancelled:
            reused, written = 0, Written()
        finally:
            context.drop_fork()
        usage = Usage(
            trunk=len(trunk_ids),
            evaluated=len(trunk_ids) - reused + written.evaluated,
            reused=reused,
            sampled=written.sampled,
            forced=written.forced,
            drafted=written.drafted,
            accepted=written.accepted,
            seconds=time.monotonic() - started,
            load_seconds=started - before_load,
        )
        return Completion(written.text, written.finished, usage)

    def limits(self, role: Role) -> dict[str, float]:
        """What the machine does with no agent around it: a batch read, and single tokens written."""
        context, _ = self._context_of(role)
        context.forget()
        read, write = context.speed(read=_LIMIT_READ, write=_LIMIT_WRITE)
        return {"read": read, "write": write, "cache_bytes": context.cache_bytes}

    def _tokens(self, role: Role, trunk: list[Segment], suffix: list[Segment]) -> tuple[list[int], list[int]]:
        weights = self._weights_of(role)
        trunk_ids = weights.tokenize(trunk)
        start = len(weights.tokenize([]))  # a beginning-of-text token belongs to the trunk alone
        return trunk_ids, weights.tokenize(suffix)[start:]

    def _weights_of(self, role: Role) -> Weights:
        spec = self._specs[role]
        if spec.model not in self._weights:
            self._weights[spec.model] = Weights(spec.model, spec.gpu_layers)
        return self._weights[spec.model]

    def _context_of(self, role: Role) -> tuple[Context, Any]:
        spec, weights = self._specs[role], self._weights_of(role)
        adapter = weights.adapter(spec.adapter)
        key = (spec.model, None if adapter is None or adapter.activated else adapter.path)
        if key not in self._contexts:
            identity = {
                "model": spec.identity or _file_identity(spec.model),
                "adapter": _file_identity(key[1]) if key[1] else None,
                "gpu_layers": spec.gpu_layers,
            }
            self._contexts[key] = Context(
                weights,
                self._context_tokens(role),
                spec.threads,
                self.cancel,
                self._snapshots,
                identity,
            )
            if self._tuning and not spec.threads:
                self._contexts[key].tune(self._tuning, identity)
        return self._contexts[key], adapter

    def _context_tokens(self, role: Role) -> int:
        trained: int = llama_cpp.llama_model_n_ctx_train(self._weights_of(role).handle)
        return min(self._specs[role].context_tokens or DEFAULT_CONTEXT, trained)


class Loop:
    """Reads requests on a thread of its own, so that a cancel is seen while a turn is written."""

    def __init__(self, requests: Any, replies: Any) -> None:
        self._requests, self._replies = requests, replies
        told = json.loads(requests.readline())
        kept = Snapshots(Path(told["snapshots"]["folder"]), told["snapshots"]["limit"]) if told["snapshots"] else None
        specs = {Role(role): ModelSpec(**spec) for role, spec in told["specs"].items()}
        tuning = Path(told["tuning"]) if told["tuning"] else None
        self._engine = Engine(specs, kept, Features(**told["features"]), tuning)
        self._queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            request = self._queue.get()
            try:
                self._send(request["id"], result=self._answer(request))
            except UmiError as error:
                kind = type(error).__name__
                self._send(request["id"], error={"kind": kind, "problem": error.problem, "remedy": error.remedy})

    def _listen(self) -> None:
        for line in self._requests:
            request = json.loads(line)
            if request["op"] == "cancel":
                self._engine.cancel.set()
                continue
            if request["op"] == "complete":
                # Cleared here, in the order of arrival, so that a cancel that follows at once is not lost.
                self._engine.cancel.clear()
            self._queue.put(request)
        os._exit(0)  # the parent is gone; a turn in flight has nobody to read it

    def _send(self, request_id: int, **reply: Any) -> None:
        self._replies.write(json.dumps({"id": request_id, **reply}) + "\n")
        self._replies.flush()

    def _answer(self, request: dict[str, Any]) -> Any:
        role = Role(request["role"])
        match request["op"]:
            case "describe":
                return self._engine.describe(role)
            case "count":
                return self._engine.count(role, request["text"])
            case "limits":
                return self._engine.limits(role)
            case "complete":
                completion = self._engine.complete(
                    role,
                    _segments(request["trunk"]),
                    _segments(request["suffix"]),
                    Constraint(request["grammar"]) if request["grammar"] is not None else None,
                    Sampling(**request["sampling"]),
                    lambda text: self._send(request["id"], text=text),
                    request["constant"],
                    request["recorded"],
                )
                return asdict(completion)
            case op:
                raise UmiError(f"The model's process does not know the request {op!r}.")


def _file_identity(path: str) -> list[object]:
    """What tells a file's content from another's without reading it all."""
    status = Path(path).stat()
    return [str(Path(path).absolute()), status.st_size, status.st_mtime_ns]


def _segments(pairs: list[list[Any]]) -> list[Segment]:
    return [Segment(text, trusted) for text, trusted in pairs]


def _tell_parent(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """llama.cpp's warnings and errors go to stderr, which the parent keeps: the last lines explain a crash."""
    if level >= _WARNING:
        sys.stderr.write(text.decode(errors="replace"))
        sys.stderr.flush()


def main() -> None:
    # llama.cpp prints to file descriptor 1 in places: replies get a descriptor of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    log = llama_cpp.llama_log_callback(_tell_parent)  # must live as long as llama.cpp may call it
    llama_cpp.llama_log_set(log, None)
    llama_cpp.llama_backend_init()
    Loop(os.fdopen(os.dup(0), "r", encoding="utf-8"), replies).run()


if __name__ == "__main__":
    main()
