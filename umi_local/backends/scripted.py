"""A backend that says what it was told to: for tests, demonstrations and replays. It ships."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from umi_local.errors import ContextFull, UsageError
from umi_local.messages import Completion, Constraint, ModelInfo, Prompt, Role, Sampling, Usage


@dataclass(frozen=True, slots=True)
class Line:
    """What `role` writes when its turn comes."""

    role: Role
    text: str
    finished: bool = True


@dataclass
class ScriptedBackend:
    """Writes the lines of a script in order; a turn of another role than the script's next is an error.

    Tokens are white-space separated words. `prompts` keeps what each turn was shown.
    """

    script: Iterable[Line]
    context_tokens: int = 8192
    chat_template: str = ""
    prompts: list[tuple[Role, Prompt]] = field(default_factory=list)
    constraints: list[Constraint | None] = field(default_factory=list)
    cancelled: bool = False

    def __post_init__(self) -> None:
        self._lines = iter(self.script)

    def describe(self, role: Role) -> ModelInfo:
        return ModelInfo("scripted", self.context_tokens, self.chat_template)

    def count(self, role: Role, text: str) -> int:
        return len(text.split())

    def complete(
        self,
        role: Role,
        prompt: Prompt,
        constraint: Constraint | None,
        sampling: Sampling,
        on_token: Callable[[str], None] = lambda _: None,
    ) -> Completion:
        self.prompts.append((role, prompt))
        self.constraints.append(constraint)
        needed = self.count(role, prompt.text) + sampling.max_tokens
        if needed > self.context_tokens:
            raise ContextFull(f"The conversation needs {needed} tokens and the context has {self.context_tokens}.")
        line = next(self._lines, None)
        if line is None or line.role is not role:
            raise UsageError(f"The script has {line.role if line else 'nothing'} where the {role} has its turn.")
        for word in line.text.splitlines(keepends=True):
            on_token(word)
        words = len(line.text.split())
        return Completion(line.text, line.finished, Usage(evaluated=words, sampled=words))

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        pass
