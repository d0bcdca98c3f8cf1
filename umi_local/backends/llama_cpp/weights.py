"""A GGUF file in memory: its vocabulary, its metadata and its adapters. Runs in the child, but for vocabularies."""

from __future__ import annotations

import codecs
import ctypes
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import llama_cpp
from llguidance import LLTokenizer
from llguidance.llamacpp import lltokenizer_from_vocab

from umi_local.backends.llama_cpp.amx import refuse_amx
from umi_local.errors import ModelCorrupt, ModelFailed
from umi_local.messages import ModelInfo, Segment

_PIECE_BYTES = 4096
_METADATA_BYTES = 1 << 20
_SEGMENTS_KEPT = 1024


class Adapter:
    """A LoRA adapter of one backbone. `activated` ones act on a role's own tokens only (aLoRA)."""

    def __init__(self, weights: Weights, path: str) -> None:
        handle = llama_cpp.llama_adapter_lora_init(weights.handle, path.encode())
        if not handle:
            raise ModelCorrupt(
                f"{path} is not an adapter for {Path(weights.path).name}.",
                "Train or convert it for this backbone, or leave --adapter out.",
            )
        self.path = path
        self.handle = handle
        self.activated = llama_cpp.llama_adapter_get_alora_n_invocation_tokens(handle) > 0


class NotLoaded(ModelCorrupt):
    """llama.cpp took the file for none that it can load, or had no memory for it: it does not say which."""


class Weights:
    """One loaded model file, shared by every role that plays on it."""

    def __init__(self, path: str, gpu_layers: int, vocabulary_only: bool = False) -> None:
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = vocabulary_only
        params.n_gpu_layers = gpu_layers
        params.use_extra_bufts = refuse_amx()
        handle = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not handle:
            raise NotLoaded(f"llama.cpp could not load {path}.", "Is it a complete GGUF of a known architecture?")
        self.path = path
        self.gpu_layers = gpu_layers
        self.handle = handle
        self.vocab = llama_cpp.llama_model_get_vocab(handle)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self._adapters: dict[str, Adapter] = {}
        self._buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        # A prompt begins with what the one before it had.
        self._tokens_of = lru_cache(_SEGMENTS_KEPT)(self._tokenize_segment)
        if vocabulary_only:
            return
        if llama_cpp.llama_model_has_encoder(handle) or not llama_cpp.llama_model_has_decoder(handle):
            self.close()
            raise ModelCorrupt(f"{path} is not a text generation model.", "Use a decoder-only GGUF.")

    def close(self) -> None:
        """Give the memory back. Contexts on it must be closed before; adapters go with it."""
        self._adapters.clear()
        llama_cpp.llama_model_free(self.handle)

    def adapter(self, path: str | None) -> Adapter | None:
        if path is None:
            return None
        if path not in self._adapters:
            self._adapters[path] = Adapter(self, path)
        return self._adapters[path]

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        return frozenset(t for t in range(self.vocab_size) if llama_cpp.llama_vocab_is_eog(self.vocab, t))

    @cached_property
    def constraint_tokenizer(self) -> LLTokenizer:
        """The vocabulary as llguidance reads it; takes about a second, once."""
        # llguidance wants one end token first; any other end token ends a turn just as well.
        eos = llama_cpp.llama_vocab_eos(self.vocab)
        return lltokenizer_from_vocab(self.vocab, eos_token=[eos, *sorted(self.end_tokens - {eos})])

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of a prompt. Special tokens are parsed in trusted segments only.

        Neighbours of one trust are tokenised as one text, so that the ids do not depend on how the renderer
        happened to cut it.
        """
        tokens = [llama_cpp.llama_vocab_bos(self.vocab)] if llama_cpp.llama_vocab_get_add_bos(self.vocab) else []
        for segment in merged(segments):
            tokens += self._tokens_of(segment)
        return tokens

    def _tokenize_segment(self, segment: Segment) -> list[int]:
        return self._encode(segment.text, True) if segment.trusted else self.tokenize_content(segment.text)

    def count(self, text: str) -> int:
        return len(self.tokenize_content(text))

    def tokenize_content(self, text: str) -> list[int]:
        """Token ids of text from outside.

        llama.cpp leaves control tokens unparsed if told so, but always parses user-defined ones (`<tool_call>`): a cut
        behind the first character of each leaves it as ordinary text.
        """
        cuts = [found.start() + 1 for found in self._markers.finditer(text)] if self._markers else []
        pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        return [token for piece in pieces for token in self._encode(piece, False)]

    @cached_property
    def _markers(self) -> re.Pattern[str] | None:
        """Where a user-defined token's text begins; those of white space alone are no markup."""
        texts = [
            self._token_text(token)
            for token in range(self.vocab_size)
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        ]
        marks = "|".join(re.escape(text) for text in texts if text.strip())
        return re.compile(f"(?={marks})") if marks else None

    def _encode(self, text: str, parse_special: bool) -> list[int]:
        raw = text.encode("utf-8", errors="replace")
        if not raw:
            return []
        capacity = len(raw) + 8
        while True:
            out = (llama_cpp.llama_token * capacity)()
            n = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), out, capacity, False, parse_special)
            if n >= 0:
                return list(out[:n])
            capacity = -n

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; control tokens have none."""
        n = llama_cpp.llama_token_to_piece(self.vocab, token, self._buffer, _PIECE_BYTES, 0, False)
        if n < 0:
            raise ModelFailed(f"Token {token} of {self.path} is longer than {_PIECE_BYTES} bytes.")
        return bytes(self._buffer.raw[:n])

    def name(self, token: int) -> bytes:
        """How the vocabulary spells a token, control tokens too."""
        return self._token_text(token).encode()

    def cache_bytes(self, tokens: int) -> int:
        """What the keys and values of so many tokens take, in 16 bits each; 0 for a recurrent model."""
        heads = llama_cpp.llama_model_n_head(self.handle)
        if not heads:
            return 0
        told = self.metadata(f"{self.metadata('general.architecture')}.attention.key_length")
        width = int(told) if told.isdecimal() else llama_cpp.llama_model_n_embd(self.handle) // heads
        keys = llama_cpp.llama_model_n_head_kv(self.handle) * width
        return int(2 * 2 * llama_cpp.llama_model_n_layer(self.handle) * keys * tokens)

    def metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(_METADATA_BYTES)
        n = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, _METADATA_BYTES)
        return buffer.value.decode(errors="replace") if n >= 0 else ""

    def info(self, context_tokens: int) -> ModelInfo:
        return ModelInfo(
            name=self.metadata("general.name") or Path(self.path).stem,
            context_tokens=context_tokens,
            chat_template=self.metadata("tokenizer.chat_template"),
            end_of_turn=self._token_text(llama_cpp.llama_vocab_eos(self.vocab)),
        )

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text: Any = llama_cpp.llama_vocab_get_text(self.vocab, token)
        return text.decode(errors="replace") if text else ""


def merged(segments: Sequence[Segment]) -> list[Segment]:
    """The same text with neighbours of one trust joined."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].trusted == segment.trusted:
            joined[-1] = Segment(joined[-1].text + segment.text, segment.trusted)
        elif segment.text:
            joined.append(segment)
    return joined


def utf8_decoder() -> codecs.IncrementalDecoder:
    """Tokens may end in the middle of a character; this holds the rest back until it is whole."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace")
