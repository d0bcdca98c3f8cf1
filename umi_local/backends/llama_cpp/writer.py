"""A role's turn, token by token, under a constraint. Runs in the child only."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from llguidance import LLMatcher

from umi_local.backends.llama_cpp.context import CancelFlag, Cancelled, Context, Logits, shared_prefix
from umi_local.backends.llama_cpp.drafting import Lookup, Payoff
from umi_local.backends.llama_cpp.spec import ALL_FEATURES, Features
from umi_local.backends.llama_cpp.weights import Weights, utf8_decoder
from umi_local.errors import ConfigError, ModelFailed
from umi_local.messages import Constraint, Sampling

_SHORT_READING = 64  # pending tokens behind which a draft still fits into one batch


class Guide:
    """What may be written next. Without a grammar: anything but control tokens."""

    def __init__(self, weights: Weights, constraint: Constraint | None, forcing: bool = True) -> None:
        grammar = constraint.grammar if constraint else r"start: /(?s:.*)/"
        self._matcher = LLMatcher(weights.constraint_tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
        self._vocab_size = weights.vocab_size
        self._forcing = forcing
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

    def allowed(self, tokens: list[int]) -> int:
        """How many of these may be written next, one after another."""
        return int(self._matcher.validate_tokens(tokens)) if tokens else 0

    def accept(self, token: int) -> list[int]:
        """Take a token. Returns those that the grammar now forces, already taken."""
        if not self._matcher.consume_token(token):
            raise ModelFailed(f"The constraint broke while writing: {self._matcher.get_error()}")
        return self.forced()

    def forced(self) -> list[int]:
        """The tokens that the grammar forces from here, taken. None where each is to be sampled like any other."""
        if not self._forcing:
            return []
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


def _as_recorded(text: str, written: Written, weights: Weights) -> Callable[[], int]:
    """Gives the token that comes next in a text, however much of it a grammar has forced."""

    def following() -> int:
        left = weights.tokenize_content(text[len(written.text) :])
        return left[0] if left else min(weights.end_tokens)

    return following


@dataclass
class Written:
    """What a turn has written so far."""

    text: str = ""
    sampled: int = 0
    forced: int = 0
    evaluated: int = 0
    drafted: int = 0
    accepted: int = 0
    finished: bool = False
    _decoder: codecs.IncrementalDecoder = field(default_factory=utf8_decoder, repr=False)

    def add(self, weights: Weights, tokens: Sequence[int], on_text: Callable[[str], None]) -> None:
        piece = self._decoder.decode(b"".join(weights.piece(t) for t in tokens))
        self.text += piece
        if piece:
            on_text(piece)


@dataclass
class Turn:
    """One turn being written: what decides, what may be written, and where it goes."""

    context: Context
    guide: Guide
    choose: Callable[[Logits], int]
    on_text: Callable[[str], None]
    lookup: Lookup | None
    limit: int
    written: Written
    recorded: Callable[[], int] | None = None
    pending: list[int] = field(default_factory=list)
    payoff: Payoff = field(default_factory=Payoff)

    def begin(self, suffix: list[int]) -> None:
        """What is read first: the suffix, and what the grammar forces behind it."""
        forced = self.guide.forced()
        self.pending = suffix + forced
        self.written.forced = len(forced)
        self.written.add(self.context.weights, forced, self.on_text)
        if self.lookup:
            self.lookup.extend(self.pending)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be written: the model or the grammar is done, or the limit is reached."""
        at_limit = self.written.sampled + self.written.forced >= self.limit
        return self.written.finished or self.guide.finished or at_limit

    def step(self) -> None:
        """Evaluate what is pending, with a draft behind it where one is worth it, and take every token that stands."""
        draft = self._draft()
        logits = self.context.read(self.pending + draft, len(draft) + 1)
        self.written.evaluated += len(self.pending) + len(draft)
        held, accepted = 0, 0
        while True:
            new = self._next(logits[held])
            held_of_new = shared_prefix(new, draft[held:])
            accepted += held_of_new > 0
            if self.ended or held_of_new < len(new):
                break
            held += held_of_new
        self.pending = new[held_of_new:]
        if draft:
            self.context.take_back(len(draft) - held - held_of_new)
        self.written.drafted += len(draft)
        self.written.accepted += accepted
        if draft:
            self.payoff.drafted(len(draft), accepted)
        else:
            self.payoff.stepped()

    def _next(self, logits: Logits) -> list[int]:
        """The token chosen from the logits and those that the grammar forces behind it; none at the turn's end."""
        token = self.guide.pick(logits, self.choose)
        if self.recorded is not None:
            token = self.recorded()
        if token in self.context.weights.end_tokens:
            self.written.finished = True
            return []
        forced = self.guide.accept(token)
        new = [token, *forced]
        self.written.sampled += 1
        self.written.forced += len(forced)
        self.written.add(self.context.weights, new, self.on_text)
        if self.lookup:
            self.lookup.extend(new)
        return new

    def _draft(self) -> list[int]:
        if self.lookup is None or len(self.pending) > _SHORT_READING or not self.payoff.worth_it:
            return []
        proposed = self.lookup.propose()[: max(0, self.context.room - len(self.pending))]
        return proposed[: self.guide.allowed(proposed)]


def write(
    context: Context,
    suffix: list[int],
    constraint: Constraint | None,
    sampling: Sampling,
    cancel: CancelFlag,
    on_text: Callable[[str], None],
    features: Features = ALL_FEATURES,
    recorded: str | None = None,
) -> Written:
    """Read a turn's suffix on the fork and write until the turn ends, is cancelled or reaches its limit.

    With `recorded` the turn is that text: the model evaluates and chooses as ever, and its choice is not followed.
    """
    guide = Guide(context.weights, constraint, features.forcing)
    lookup = Lookup() if features.drafting and context.rewinds else None
    if lookup:
        lookup.extend(context.held)
    written = Written()
    told = None if recorded is None else _as_recorded(recorded, written, context.weights)
    turn = Turn(context, guide, chooser(sampling), on_text, lookup, sampling.max_tokens, written, told)
    turn.begin(suffix)
    try:
        while not turn.ended and context.room > 0:
            turn.step()
        written.finished = written.finished or guide.finished
    except Cancelled:
        written.finished = False
    return written
