"""A role's turn, token by token, under a constraint. Runs in the child only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from llguidance import LLMatcher

from umi_local.backends.llama_cpp.context import CancelFlag, Cancelled, Context, Logits
from umi_local.backends.llama_cpp.weights import Weights, utf8_decoder
from umi_local.errors import ConfigError, ModelFailed
from umi_local.messages import Constraint, Sampling


class Guide:
    """What may be written next. Without a grammar: anything but control tokens."""

    def __init__(self, weights: Weights, constraint: Constraint | None) -> None:
        grammar = constraint.grammar if constraint else r"start: /(?s:.*)/"
        self._matcher = LLMatcher(weights.constraint_tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
        self._vocab_size = weights.vocab_size
        if self._matcher.is_error():
            raise ConfigError(f"A constraint does not compile: {self._matcher.get_error().splitlines()[0]}")

    @property
    def finished(self) -> bool:
        return bool(self._matcher.is_stopped())

    def pick(self, logits: Logits, choose: Callable[[Logits], int]) -> int:
        """The chosen token. The vocabulary is masked only when the first choice is not allowed."""
        token = choose(logits)
        if self._matcher.validate_tokens([token]) == 1:
            return token
        allowed = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        return choose(np.where(allowed[: self._vocab_size].astype(bool), logits, -np.inf))

    def accept(self, token: int) -> list[int]:
        """Take a token. Returns those that the grammar now forces, already taken."""
        if not self._matcher.consume_token(token):
            raise ModelFailed(f"The constraint broke while writing: {self._matcher.get_error()}")
        return self.forced()

    def forced(self) -> list[int]:
        """The tokens that the grammar forces from here, taken."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens and not self._matcher.consume_tokens(tokens):
            raise ModelFailed(f"The constraint broke while writing: {self._matcher.get_error()}")
        return tokens


def chooser(sampling: Sampling) -> Callable[[Logits], int]:
    """How one token is drawn from logits of shape (vocabulary,)."""
    if sampling.temperature <= 0:
        return lambda logits: int(np.argmax(logits))
    random = np.random.default_rng(sampling.seed)

    def draw(logits: Logits) -> int:
        scaled = (logits - logits.max()) / sampling.temperature
        weights = np.exp(scaled, dtype=np.float64)
        order = np.argsort(-weights)
        nucleus = np.cumsum(weights[order]) / weights.sum()
        order = order[: int(np.searchsorted(nucleus, sampling.top_p)) + 1]
        return int(random.choice(order, p=weights[order] / weights[order].sum()))

    return draw


@dataclass
class Draft:
    """What a turn has written so far."""

    text: str = ""
    sampled: int = 0
    forced: int = 0
    evaluated: int = 0
    finished: bool = False
    _decoder: object = field(default_factory=utf8_decoder, repr=False)

    def add(self, weights: Weights, tokens: list[int], on_text: Callable[[str], None]) -> None:
        piece = self._decoder.decode(b"".join(weights.piece(t) for t in tokens))  # type: ignore[attr-defined]
        self.text += piece
        if piece:
            on_text(piece)


def write(
    context: Context,
    suffix: list[int],
    constraint: Constraint | None,
    sampling: Sampling,
    cancel: CancelFlag,
    on_text: Callable[[str], None],
) -> Draft:
    """Read a turn's suffix on the fork and write until the turn ends, is cancelled or reaches its limit."""
    weights, guide, choose = context.weights, Guide(context.weights, constraint), chooser(sampling)
    draft, pending = Draft(), suffix + guide.forced()
    draft.forced = len(pending) - len(suffix)
    draft.add(weights, pending[len(suffix) :], on_text)
    try:
        while not guide.finished and draft.sampled + draft.forced < min(sampling.max_tokens, context.room):
            logits = context.read(pending)
            draft.evaluated += len(pending)
            token = guide.pick(logits, choose)
            if token in weights.end_tokens:
                draft.finished = True
                break
            forced = guide.accept(token)
            pending = [token, *forced]
            draft.sampled += 1
            draft.forced += len(forced)
            draft.add(weights, pending, on_text)
        draft.finished = draft.finished or guide.finished
    except Cancelled:
        draft.finished = False
    return draft
