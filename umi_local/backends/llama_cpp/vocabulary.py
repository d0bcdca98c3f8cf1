"""A model's vocabulary alone, in this process: what training needs so that it reads as inference does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp

from umi_local.backends.llama_cpp.weights import Weights
from umi_local.convert.vet import vet_gguf
from umi_local.messages import ModelInfo, Segment


def _say_nothing(level: int, text: bytes, data: object) -> None:
    """llama.cpp tells everything it reads of a file; none of it is for the user here."""


_SILENT = llama_cpp.llama_log_callback(_say_nothing)  # must live as long as llama.cpp may call it


class Vocabulary:
    """The vocabulary of a GGUF file. Its header is checked first, since llama.cpp may abort on a damaged one.

    Raises:
        ModelCorrupt: the file is no sound GGUF.
    """

    def __init__(self, path: Path) -> None:
        vet_gguf(path)
        llama_cpp.llama_log_set(_SILENT, None)
        self._weights = Weights(str(path), 0, vocabulary_only=True)
        self._start = len(self._weights.tokenize([]))
        self.info: ModelInfo = self._weights.info(0)
        self.end: int = llama_cpp.llama_vocab_eos(self._weights.vocab)

    def trunk(self, segments: Sequence[Segment]) -> list[int]:
        """The tokens of a trunk, with the token that begins a text where the model wants one."""
        return self._weights.tokenize(segments)

    def turn(self, segments: Sequence[Segment]) -> list[int]:
        """The tokens of what follows a trunk."""
        return self._weights.tokenize(segments)[self._start :]

    def text(self, tokens: Sequence[int]) -> str:
        """The tokens as a reader sees them; control tokens by their names."""
        return b"".join(self._weights.piece(token) or self._weights.name(token) for token in tokens).decode(
            errors="replace"
        )
