"""One KV cache: a trunk that all roles share and a fork on which one role writes. Runs in the child only.

The trunk lives in sequence 0 and a role's turn in sequence 1, which starts as a copy of the trunk that shares
its cells (`kv_unified`); an activated adapter is switched on for the fork alone. The trunk is therefore always
the plain backbone's (or, for a classic adapter, that adapter's own: then the context belongs to it alone).
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt

from umi_local.backends.llama_cpp.snapshots import Snapshots, key_of
from umi_local.backends.llama_cpp.tuning import Threads, trial_of, tuned
from umi_local.backends.llama_cpp.weights import Adapter, Weights
from umi_local.errors import ContextFull, ModelFailed, OutOfMemory

TRUNK, FORK = 0, 1
_BATCH = 256  # larger ones read no faster on two cores and take memory for their attention
_SHORTEST_SNAPSHOT = 128  # tokens; less is read again faster than it is found

Logits = npt.NDArray[np.float32]


class Cancelled(Exception):
    """The turn was cancelled while tokens were being evaluated."""


class CancelFlag:
    """Read by llama.cpp between two operations, set from another thread.

    llama.cpp polls a C function that takes a pointer and returns a bool. `strlen` on a one-byte string is such
    a function: false while the byte is 0. A Python callback would take the interpreter's lock a thousand times
    per token.
    """

    def __init__(self) -> None:
        self._cell = ctypes.create_string_buffer(2)

    def set(self) -> None:
        self._cell[0] = b"\x01"

    def clear(self) -> None:
        self._cell[0] = b"\x00"

    def __bool__(self) -> bool:
        return self._cell[0] != b"\x00"

    def watch(self, handle: llama_cpp.llama_context_p) -> None:
        libc = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
        strlen = ctypes.cast(libc.strlen, llama_cpp.ggml_abort_callback)
        llama_cpp.llama_set_abort_callback(handle, strlen, ctypes.cast(self._cell, ctypes.c_void_p))


class Context:
    """The cache of one (model, adapters) pair, with the tokens its trunk holds.

    `threads` of 0 are one per core, `read_threads` of 0 are as many. With `snapshots` the beginnings of trunks outlive
    the process. `identity` tells this pair from any other; the build and the types of the cache are added to it.
    """

    def __init__(
        self,
        weights: Weights,
        context_tokens: int,
        threads: int,
        cancel: CancelFlag,
        snapshots: Snapshots | None = None,
        identity: Mapping[str, object] | None = None,
        read_threads: int = 0,
    ) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = _BATCH
        params.n_seq_max = 2
        params.kv_unified = True
        params.n_threads = threads or usable_cores()
        params.n_threads_batch = read_threads or params.n_threads
        if not weights.gpu_layers:
            # On a CPU, flash attention is slower than plain attention for batches under 64 tokens, which is all that
            # a turn has: twice as slow for 32 tokens behind 2,500 (DESIGN.md, section 5).
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_perf = True
        handle = llama_cpp.llama_init_from_model(weights.handle, params)
        if not handle:
            raise OutOfMemory(
                f"A context of {context_tokens} tokens for {weights.path} does not fit into memory.",
                "Choose a smaller model or set a smaller context.",
            )
        self.weights = weights
        self.tokens = context_tokens
        self.held: list[int] = []
        self._handle = handle
        self._memory = llama_cpp.llama_get_memory(handle)
        self._batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        self._cancel = cancel
        self.threads = Threads(params.n_threads, params.n_threads_batch)
        self._position = 0
        self._snapshots = snapshots
        types = {"type_k": params.type_k, "type_v": params.type_v, "flash_attention": params.flash_attn_type}
        # The size decides how some models' positions are scaled, so keys of one size are wrong for another.
        self._identity = {**(identity or {}), **types, "build": _build(), "context_tokens": context_tokens}
        cancel.watch(handle)

    def advance_trunk(self, tokens: Sequence[int], adapter: Adapter | None = None, constant: int = 0) -> int:
        """Make the trunk hold exactly `tokens`, reading only those it does not hold. Returns how many it held.

        The first `constant` tokens are looked for on disk, and kept there once they are read.
        """
        self.use(adapter)
        kept = self._snapshots is not None and constant >= _SHORTEST_SNAPSHOT
        restored = kept and shared_prefix(self.held, tokens) < constant and self._restore(tokens[:constant])
        keep = shared_prefix(self.held, tokens)
        if keep < len(self.held) and not llama_cpp.llama_memory_seq_rm(self._memory, TRUNK, keep, -1):
            # Recurrent models cannot step back to the middle of a text.
            llama_cpp.llama_memory_seq_rm(self._memory, TRUNK, -1, -1)
            keep = 0
        self.held = list(tokens[:keep])
        # A batch never spans the end of the constant part: what is read then does not depend on what was kept.
        self._extend(tokens[:constant])
        if kept and not restored and keep < constant:
            self._keep()
        self._extend(tokens)
        return keep

    def _extend(self, tokens: Sequence[int]) -> None:
        """Read what of `tokens` the trunk, which is a beginning of them or they of it, does not hold yet."""
        for start in range(len(self.held), len(tokens), _BATCH):
            part = tokens[start : start + _BATCH]
            self._decode(part, start, TRUNK, wanted=0)
            self.held += part

    def _restore(self, tokens: Sequence[int]) -> bool:
        """Whether the trunk now holds these tokens, from a snapshot."""
        assert self._snapshots is not None
        state = self._snapshots.load(key_of(self._identity, tokens))
        if state is None:
            return False
        llama_cpp.llama_memory_seq_rm(self._memory, TRUNK, -1, -1)
        self.held = []
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        if llama_cpp.llama_state_seq_set_data(self._handle, buffer, len(state), TRUNK) == 0:
            llama_cpp.llama_memory_seq_rm(self._memory, TRUNK, -1, -1)
            return False
        self.held = list(tokens)
        return True

    def _keep(self) -> None:
        """Put what the trunk holds into a snapshot."""
        assert self._snapshots is not None
        size = llama_cpp.llama_state_seq_get_size(self._handle, TRUNK)
        buffer = (ctypes.c_uint8 * size)()
        written = llama_cpp.llama_state_seq_get_data(self._handle, buffer, size, TRUNK)
        if written:
            self._snapshots.save(key_of(self._identity, self.held), bytes(memoryview(buffer)[:written]))

    def close(self) -> None:
        """Give the cache's memory back."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._handle)

    def forget(self) -> None:
        """Empty the trunk."""
        llama_cpp.llama_memory_seq_rm(self._memory, TRUNK, -1, -1)
        self.held = []

    def fork(self, adapter: Adapter | None) -> None:
        """Start a role's turn behind the trunk."""
        llama_cpp.llama_memory_seq_cp(self._memory, TRUNK, FORK, -1, -1)
        self._position = len(self.held)
        self.use(adapter)

    def drop_fork(self) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, FORK, -1, -1)

    def read(self, tokens: Sequence[int], wanted: int = 1) -> list[Logits]:
        """Evaluate tokens on the fork. Returns the logits behind the last `wanted` of them, each (vocabulary,).

        They are llama.cpp's own memory, and good until the next evaluation.
        """
        for start in range(0, len(tokens), _BATCH):
            part = tokens[start : start + _BATCH]
            # All that is wanted stands in the last batch: nobody drafts behind a long reading.
            self._decode(part, self._position, FORK, wanted if start + _BATCH >= len(tokens) else 0)
            self._position += len(part)
        size = (self.weights.vocab_size,)
        return [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._handle, i), size) for i in range(-wanted, 0)]

    def take_back(self, count: int) -> None:
        """Forget the last `count` tokens of the fork. Not for models whose state cannot step back (see `rewinds`)."""
        self._position -= count
        llama_cpp.llama_memory_seq_rm(self._memory, FORK, self._position, -1)

    @property
    def rewinds(self) -> bool:
        """Whether single tokens can be taken back: recurrent models keep one state and no past."""
        model = self.weights.handle
        return not (llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))

    def tune(self, file: Path, about: Mapping[str, object]) -> None:
        """Use as many threads as are fastest for this model here, by what `file` keeps or by a short trial."""

        def use(write: int, read: int) -> None:
            llama_cpp.llama_set_n_threads(self._handle, write, read)

        about = {**about, "build": _build()}
        self.threads = tuned(file, about, usable_cores(), trial_of(self.speed, use))
        use(self.threads.write, self.threads.read)

    def speed(self, read: int, write: int) -> tuple[float, float]:
        """Tokens per second reading so many in one go and writing so many one by one, behind an empty trunk."""
        token = llama_cpp.llama_vocab_eos(self.weights.vocab)
        rates = []
        for parts in ([[token] * read], [[token]] * write):
            self.fork(None)
            try:
                self.read([token])  # the first evaluation sets buffers up
                started = time.perf_counter()
                for part in parts:
                    self.read(part)
                rates.append(sum(map(len, parts)) / (time.perf_counter() - started))
            finally:
                self.drop_fork()
        return rates[0], rates[1]

    @property
    def cache_bytes(self) -> int:
        """What the keys and values of the whole context take, in 16 bits each."""
        return self.weights.cache_bytes(self.tokens)

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.tokens - self._position

    def use(self, adapter: Adapter | None) -> None:
        """Switch to one adapter, or to none; it acts on everything evaluated from here on."""
        count = 1 if adapter else 0
        handles = (llama_cpp.llama_adapter_lora_p_ctypes * count)(*([adapter.handle] if adapter else []))
        scales = (ctypes.c_float * count)(*[1.0] * count)
        if llama_cpp.llama_set_adapters_lora(self._handle, handles, count, scales) != 0:
            raise ModelFailed("llama.cpp refused an adapter.", "Leave --adapter out to go on without it.")

    def _decode(self, tokens: Sequence[int], position: int, sequence: int, wanted: int) -> None:
        """Evaluate a batch; the logits behind its last `wanted` tokens are kept."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i >= len(tokens) - wanted
        status = llama_cpp.llama_decode(self._handle, batch)
        if status == 0:
            return
        # A batch that stopped half-way may have left cells behind. A recurrent model cannot drop those alone.
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            self.held = [] if sequence == TRUNK else self.held
        if status == 2 or self._cancel:
            raise Cancelled
        if status == 1:
            raise ContextFull(f"The context of {self.tokens} tokens is full.", "Start a new session.")
        raise ModelFailed(f"llama.cpp could not evaluate a batch (status {status}).", "Try again.")


@cache
def _build() -> list[str]:
    """What tells this build of llama.cpp from another, whose numbers or formats may differ."""
    system: bytes = llama_cpp.llama_print_system_info()
    libraries = sorted(Path(llama_cpp.__file__).parent.joinpath("lib").glob("*"))
    sizes = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in libraries]
    return [llama_cpp.__version__, system.decode(errors="replace"), *sizes]


def usable_cores() -> int:
    """The cores this process may run on; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens at the beginning are the same."""
    for i, (a, b) in enumerate(zip(held, wanted, strict=False)):
        if a != b:
            return i
    return min(len(held), len(wanted))
