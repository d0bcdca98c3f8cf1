"""The parent's side of the model's process: the Backend that everybody else sees."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from umi_local import errors
from umi_local.backends.llama_cpp.snapshots import Snapshots
from umi_local.backends.llama_cpp.spec import ALL_FEATURES, Features, ModelSpec
from umi_local.convert.vet import vet_gguf
from umi_local.errors import ModelError, ModelFailed, ModelMissing, OutOfMemory, UmiError
from umi_local.messages import Completion, Constraint, ModelInfo, Prompt, Role, Sampling, Segment, Usage
from umi_local.paths import is_file

_CANCEL_GRACE_SECONDS = 2.0


def _ignore(_: str) -> None:
    pass


class LlamaCppBackend:
    """Runs llama.cpp in a child process, which starts with the first request and is replaced if it dies.

    Args:
        specs: the files of each role that will take a turn.
        pinned: files whose sha256 was checked against a manifest; every other file's header is vetted first.
        snapshots: where the trunks' constant beginnings outlive the process; None to read them anew each time.
        features: what makes writing cheap.
        tuning: the file of thread counts that were measured; None to use a thread per core.
        memory: bytes that all models and caches may take together; 0 for four fifths of the machine's.

    Raises:
        ModelMissing, ModelCorrupt, OutOfMemory: from the first call that needs a file.
        ModelFailed: the process died; the next call starts a new one.
    """

    def __init__(
        self,
        specs: Mapping[Role, ModelSpec],
        pinned: frozenset[str] = frozenset(),
        snapshots: Snapshots | None = None,
        features: Features = ALL_FEATURES,
        tuning: Path | None = None,
        memory: int = 0,
    ) -> None:
        self._specs = dict(specs)
        self._features = features
        self._tuning = tuning
        self._memory = memory
        self._snapshots = snapshots
        self._pinned = pinned
        self._child: subprocess.Popen[str] | None = None
        self._stderr: IO[bytes] | None = None
        self._next_id = 0
        self._write_lock = threading.Lock()
        self._turn = threading.Lock()
        self._cancelled = 0  # the number of the request that was cancelled last
        self._closed = False

    def describe(self, role: Role) -> ModelInfo:
        try:
            return ModelInfo(**self._ask("describe", role))
        except (ModelError, OutOfMemory):
            if self._cancelled != self._next_id:
                raise
            # Killed for not stopping in time, while a model was loaded. The run that was cancelled ends when it has it.
            return ModelInfo(**self._ask("describe", role))

    def count(self, role: Role, text: str) -> int:
        try:
            return int(self._ask("count", role, text=text))
        except (ModelError, OutOfMemory):
            if self._cancelled != self._next_id:
                raise
            return len(text)  # killed for not stopping in time; nobody goes on from here

    def complete(
        self,
        role: Role,
        prompt: Prompt,
        constraint: Constraint | None,
        sampling: Sampling,
        on_token: Callable[[str], None] = _ignore,
        recorded: str | None = None,
    ) -> Completion:
        """As the protocol says. With `recorded` the turn is that text, whatever the model would have written."""
        asked = {"grammar": constraint.grammar if constraint else None, "recorded": recorded}
        try:
            reply = self._ask("complete", role, on_token, **asked, sampling=asdict(sampling), **_prompt(prompt))
        except (ModelError, OutOfMemory):  # a process that was killed looks as if memory had run out
            if self._cancelled != self._next_id:
                raise
            return Completion("", finished=False)  # it did not stop in time and was killed
        usage, notes = Usage(**reply.pop("usage")), tuple(reply.pop("notes"))
        return Completion(usage=usage, notes=notes, **reply)

    def limits(self, role: Role) -> dict[str, Any]:
        """Tokens per second `read` and `write` with nothing around them, and `cache_bytes` of the role's cache."""
        return dict(self._ask("limits", role))

    def cancel(self) -> None:
        """Ask the child to stop at the next operation; kill it if it does not within two seconds."""
        child = self._child
        with contextlib.suppress(OSError), self._write_lock:
            turn = self._next_id
            if child is None or not self._turn.locked() or self._cancelled == turn:
                return
            self._cancelled = turn

            def give_up() -> None:
                if self._turn.locked() and self._next_id == turn:
                    child.kill()

            timer = threading.Timer(_CANCEL_GRACE_SECONDS, give_up)
            timer.daemon = True
            timer.start()
            self._send(child, {"op": "cancel"})

    def close(self) -> None:
        """End the process; a turn that is going on in another thread fails, and no process is started again."""
        self._closed = True
        self._drop_child()

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, self._stderr):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()

    def _ask(self, op: str, role: Role, on_text: Callable[[str], None] = _ignore, **fields: Any) -> Any:
        with self._turn:
            child = self._running()
            try:
                with self._write_lock, self._alive(child):
                    self._next_id += 1  # under the lock, so that no cancel of this turn is sent before it
                    self._send(child, {"id": self._next_id, "op": op, "role": role.value, **fields})
                return self._reply(child, on_text)
            except UmiError:
                raise
            except BaseException:  # of the listener, or Ctrl-C
                # Whatever the child still says belongs to a turn that nobody waits for.
                self._drop_child()
                raise

    @contextlib.contextmanager
    def _alive(self, child: subprocess.Popen[str]) -> Iterator[None]:
        """Around what is said to the child or heard of it: what breaks there is the child's end."""
        try:
            yield
        except (OSError, ValueError):  # the latter from a stream that `close` has closed
            raise self._obituary(child) from None

    def _reply(self, child: subprocess.Popen[str], on_text: Callable[[str], None]) -> Any:
        while True:
            with self._alive(child):
                assert child.stdout is not None
                line = child.stdout.readline()
                if not line:
                    break
                reply = json.loads(line)
            if reply["id"] != self._next_id:
                continue
            if "text" in reply:
                on_text(reply["text"])
            elif "error" in reply:
                raise _as_error(reply["error"])
            else:
                return reply["result"]
        raise self._obituary(child)

    def _send(self, child: subprocess.Popen[str], message: dict[str, Any]) -> None:
        assert child.stdin is not None
        child.stdin.write(json.dumps(message) + "\n")
        child.stdin.flush()

    def _running(self) -> subprocess.Popen[str]:
        if self._child and self._child.poll() is None:
            return self._child
        self._drop_child()
        if self._closed:
            raise ModelFailed("The model's process was closed.")
        for path in {path for spec in self._specs.values() for path in (spec.model, spec.adapter) if path}:
            self._check(path)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = subprocess.Popen(
            # -P: a folder umi_local in the current directory, such as a checkout, is not the installed package.
            [sys.executable, "-P", "-m", "umi_local.backends.llama_cpp.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C belongs to the parent, which saves first
        )
        specs = {role.value: asdict(spec) for role, spec in self._specs.items()}
        kept = self._snapshots and {"folder": str(self._snapshots.folder), "limit": self._snapshots.limit}
        tuning = str(self._tuning) if self._tuning else None
        told = {"specs": specs, "snapshots": kept, "features": asdict(self._features)}
        self._send(self._child, {**told, "tuning": tuning, "memory": self._memory})
        return self._child

    def _check(self, path: str) -> None:
        if not is_file(Path(path)):
            raise ModelMissing(f"There is no model file {path}.", "Check the path, or run: umi-local models list")
        if path not in self._pinned:
            vet_gguf(Path(path))

    def _obituary(self, child: subprocess.Popen[str]) -> UmiError:
        """Why the child died, as far as its exit status and its last words tell."""
        try:
            status = child.wait(_CANCEL_GRACE_SECONDS)
        except subprocess.TimeoutExpired:  # it only fell silent
            child.kill()
            child.wait()
            status = 0
        words = ""
        with contextlib.suppress(ValueError):  # closed with the process
            if self._stderr:
                self._stderr.seek(0)
                words = " ".join(self._stderr.read()[-2000:].decode(errors="replace").split("\n")[-3:]).strip()
        self._drop_child()
        if self._closed:
            return ModelFailed("The model's process was closed.")
        if status == -signal.SIGKILL:
            return OutOfMemory(
                "The model's process was killed, most likely for want of memory.", "Choose a smaller model."
            )
        said = words[-300:] or "it said nothing"
        return ModelFailed(f"The model's process ended with status {status}: {said}.", "Ask again to start a new one.")


def _prompt(prompt: Prompt) -> dict[str, Any]:
    return {"trunk": _pairs(prompt.trunk), "suffix": _pairs(prompt.suffix), "constant": prompt.constant}


def _pairs(segments: tuple[Segment, ...]) -> list[tuple[str, bool]]:
    return [(segment.text, segment.trusted) for segment in segments]


def _as_error(told: dict[str, str]) -> UmiError:
    kind: type[UmiError] = getattr(errors, told["kind"], ModelFailed)
    return kind(told["problem"], told["remedy"])
