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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llama_cpp

from umi_local.backends.llama_cpp.engine import Engine
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import Features, ModelSpec
from umi_local.errors import UmiError
from umi_local.messages import Constraint, Role, Sampling, Segment

_WARNING = 3  # ggml's log level


class Loop:
    """Reads requests on a thread of its own, so that a cancel is seen while a turn is written."""

    def __init__(self, requests: Any, replies: Any) -> None:
        self._requests, self._replies = requests, replies
        told = json.loads(requests.readline())
        kept = Snapshots(Path(told["snapshots"]["folder"]), told["snapshots"]["limit"]) if told["snapshots"] else None
        specs = {Role(role): ModelSpec(**spec) for role, spec in told["specs"].items()}
        tuning = Path(told["tuning"]) if told["tuning"] else None
        self._engine = Engine(specs, kept, Features(**told["features"]), tuning, told["memory"])
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
