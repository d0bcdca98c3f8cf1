"""llama.cpp's own view of a file: logits of a token sequence, and token ids of a text."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


class Loaded:
    """A GGUF in llama.cpp on one thread, float32 cache, plain attention; `adapter` is switched on for everything."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        import llama_cpp

        self._lib = llama_cpp
        llama_cpp.llama_backend_init()
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p())
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers, parameters.use_mmap = 0, False
        parameters.use_extra_bufts = False  # PyTorch may have asked for tiles in this process, which llama.cpp dies of
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self._model, f"llama.cpp does not load {path.name}"
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = 512
        context.n_threads = context.n_threads_batch = 1
        context.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context.type_k = context.type_v = llama_cpp.GGML_TYPE_F32
        self._context = llama_cpp.llama_init_from_model(self._model, context)
        assert self._context
        if adapter is not None:
            loaded = llama_cpp.llama_adapter_lora_init(self._model, str(adapter).encode())
            assert loaded, f"llama.cpp does not load {adapter.name}"
            adapters, scales = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(loaded), (ctypes.c_float * 1)(1.0)
            assert llama_cpp.llama_set_adapters_lora(self._context, adapters, 1, scales) == 0

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """(tokens, vocabulary), in float32."""
        lib = self._lib
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        assert lib.llama_decode(self._context, batch) == 0
        width = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))
        rows = [
            np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, i), (width,)).copy()
            for i in range(len(tokens))
        ]
        lib.llama_batch_free(batch)
        return np.stack(rows)

    def tokens(self, text: str, special: bool = False) -> list[int]:
        """Token ids without those that begin or end every text."""
        lib, data = self._lib, text.encode()
        room = (lib.llama_token * (len(data) + 8))()
        vocab = lib.llama_model_get_vocab(self._model)
        count = lib.llama_tokenize(vocab, data, len(data), room, len(room), False, special)
        assert count >= 0
        return list(room[:count])

    def close(self) -> None:
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)
