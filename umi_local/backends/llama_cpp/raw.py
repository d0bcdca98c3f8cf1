"""A model with nothing around it, for measuring: a text's tokens, and the logits after each of them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from umi_local.errors import ModelFailed

Watch = Callable[[int, bool, Any], bool]


class OpenModel:
    """One file in one context of `size` tokens on the CPU. `watch` is shown the nodes of the graph."""

    def __init__(self, path: Path, size: int, watch: Watch | None = None) -> None:
        llama_cpp.llama_backend_init()
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p())
        self._model = self._opened(path)
        self.vocab = llama_cpp.llama_model_get_vocab(self._model)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = size
        parameters.n_threads = parameters.n_threads_batch = os.cpu_count() or 1
        if watch:
            self._watch = llama_cpp.ggml_backend_sched_eval_callback(watch)
            parameters.cb_eval = self._watch
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise ModelFailed(f"llama.cpp cannot make a context for {path.name}.")
        self._held: list[int] = []

    def __enter__(self) -> OpenModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokens(self, text: str, special: bool = False) -> list[int]:
        """The ids of a text's tokens, without those that begin or end every text."""
        data = text.encode()
        room = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), room, len(room), False, special)
        if count < 0:
            raise ModelFailed("llama.cpp cannot tokenise the text.")
        return list(room[:count])

    def read(
        self, tokens: Sequence[int], wanted: Sequence[bool] | None = None, keep: bool = False
    ) -> npt.NDArray[np.float32]:
        """Read at most `size` tokens: the logits of the `wanted` ones (else of the last), (wanted, vocabulary).

        With `keep`, what these tokens begin with in common with those read before is not read again.
        """
        asked = [False] * (len(tokens) - 1) + [True] if wanted is None else list(wanted)
        known = zip(self._held, tokens, strict=False) if keep else ()
        shared = next((place for place, (a, b) in enumerate(known) if a != b), min(len(self._held), len(tokens)))
        start = min(shared, asked.index(True)) if keep else 0
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_seq_rm(memory, 0, start, -1)
        self._held = list(tokens)
        batch = llama_cpp.llama_batch_init(len(tokens) - start, 0, 1)
        batch.n_tokens = len(tokens) - start
        for at, place in enumerate(range(start, len(tokens))):
            batch.token[at], batch.pos[at], batch.logits[at] = tokens[place], place, asked[place]
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
        try:
            if llama_cpp.llama_decode(self._context, batch) != 0:
                raise ModelFailed("llama.cpp could not read the text.")
            width = llama_cpp.llama_vocab_n_tokens(self.vocab)
            places = [place - start for place, is_asked in enumerate(asked) if is_asked]
            rows = [llama_cpp.llama_get_logits_ith(self._context, place) for place in places]
            return np.stack([np.ctypeslib.as_array(row, (width,)).copy() for row in rows])
        finally:
            llama_cpp.llama_batch_free(batch)

    def _opened(self, path: Path) -> Any:
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        # Weights in another arrangement have buffers of their own, whose inputs a watcher could not read.
        parameters.use_extra_bufts = False
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not model:
            raise ModelFailed(f"llama.cpp cannot load {path.name}.")
        return model
