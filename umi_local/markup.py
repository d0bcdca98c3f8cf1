"""Chat markup: how a model's own template frames a system text and turns.

Known families are a pair of strings around each turn, with any speaker's name. Others go through the file's
own Jinja template, in a sandbox, with the turns mapped to user and assistant in strict alternation.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any, Protocol

from umi_local.errors import ConfigError
from umi_local.messages import ChatMessage, ModelInfo, Prompt, Segment, Speaker

Turns = Sequence[tuple[Speaker, str]]
Chat = Sequence[tuple[str, Sequence[tuple[Segment, ...]]]]  # messages by role; a message may hold several contents

_TEMPLATE_LIMIT = 64_000


class Markup(Protocol):
    def prompt(self, system: Sequence[Segment], turns: Turns, speaker: Speaker, constant: int = 0) -> Prompt:
        """The conversation as trunk, and the opening of `speaker`'s turn as suffix.

        The first `constant` of the turns are the same in every conversation, as the system text is.
        """


@dataclass(frozen=True, slots=True)
class FamilyMarkup:
    """A known family: `open`, a speaker's name in it, the text, `close`."""

    open: str
    close: str
    names: Mapping[str, str]

    def prompt(self, system: Sequence[Segment], turns: Turns, speaker: Speaker, constant: int = 0) -> Prompt:
        trunk = [self._opening("system"), *system, Segment(self.close, True)]
        kept = len(trunk)
        for number, (who, text) in enumerate(turns, start=1):
            trunk += [self._opening(who), Segment(text, False), Segment(self.close, True)]
            kept = len(trunk) if number == constant else kept
        return Prompt(tuple(trunk), (self._opening(speaker),), kept)

    def _opening(self, speaker: str) -> Segment:
        return Segment(self.open.format(speaker=self.names[speaker]), True)


@dataclass(frozen=True, slots=True)
class MessagesMarkup:
    """For a server that applies the model's chat template itself: messages, and no markup of ours."""

    cues: Mapping[str, str]

    def prompt(self, system: Sequence[Segment], turns: Turns, speaker: Speaker, constant: int = 0) -> Prompt:
        said = _alternating("system", system, [*turns, (speaker, None)], self.cues)
        texts = [
            (role, "\n".join("".join(s.text for s in segments) for segments in contents)) for role, contents in said
        ]
        messages = tuple(ChatMessage(role, text) for role, text in texts)
        return Prompt(tuple(Segment(f"{text}\n", False) for _, text in texts), (), messages=messages)


@dataclass(frozen=True, slots=True)
class TemplateMarkup:
    """A model's own Jinja template. It sees placeholders; the contents are put in afterwards as segments.

    A template can so neither read nor change what is said, and what is said can forge no markup.
    """

    template: str
    cues: Mapping[str, str]
    special: Mapping[str, str]

    def prompt(self, system: Sequence[Segment], turns: Turns, speaker: Speaker, constant: int = 0) -> Prompt:
        after = _alternating("user", system, [*turns, (speaker, None)], self.cues)
        contents = [content for _, said in after for content in said]
        closed = self._render(_alternating("user", system, turns, self.cues), opened=False)
        open_ = self._render(after, opened=True)
        shared = _shared_prefix(closed, open_)
        return Prompt(_fill(shared, contents), _fill(open_[len(shared) :], contents))

    def _render(self, chat: Chat, opened: bool) -> str:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise jinja2.TemplateError(message)

        extensions = ["jinja2.ext.loopcontrols"]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        environment.globals["raise_exception"] = refuse
        number = count()
        messages = [
            {"role": role, "content": "\n".join(_placeholder(next(number)) for _ in said)} for role, said in chat
        ]
        try:
            return environment.from_string(self.template).render(
                messages=messages, add_generation_prompt=opened, tools=None, **self.special
            )
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            raise ConfigError(
                f"The model's chat template cannot be rendered: {error}.",
                "Name its markup with `markup` in a pack manifest.",
            ) from None


def markup_for(name: str, info: ModelInfo, names: Mapping[str, str], cues: Mapping[str, str]) -> Markup:
    """The markup that a manifest names, or with `auto` the one that the model's template shows.

    Raises:
        ConfigError: an unknown name, or a template that is missing or too long.
    """
    families = _families()
    if name != "auto" and name not in families:
        raise ConfigError(f"There is no markup {name!r}.", f"Known: auto, {', '.join(families)}.")
    for family, data in families.items():
        if family == name or (name == "auto" and data["recognise"] in info.chat_template):
            return FamilyMarkup(data["open"], data["close"], names)
    if not info.chat_template:
        raise ConfigError(f"{info.name} has no chat template.", "Name its markup with `markup` in a pack manifest.")
    if len(info.chat_template) > _TEMPLATE_LIMIT or _OPEN in info.chat_template:
        raise ConfigError(f"The chat template of {info.name} is not a plausible one.", "Name its markup in a manifest.")
    special = {"bos_token": "", "eos_token": info.end_of_turn}
    return TemplateMarkup(info.chat_template, cues, special)


@cache
def _families() -> dict[str, Any]:
    return tomllib.loads(files("umi_local.styles").joinpath("markup.toml").read_text(encoding="utf-8"))


def _alternating(
    first: str, system: Sequence[Segment], turns: Sequence[tuple[Speaker, str | None]], cues: Mapping[str, str]
) -> Chat:
    """Turns as messages in strict alternation; `first` is the role that tells the system text.

    Where a template knows no roles like ours, a line of the user's asks for the turn. A turn without a text is the one
    that is asked for.
    """
    chat: list[tuple[str, list[tuple[Segment, ...]]]] = []

    def say(role: str, *segments: Segment) -> None:
        if not chat or chat[-1][0] != role:
            chat.append((role, []))
        chat[-1][1].append(segments)

    say(first, *system)
    for who, text in turns:
        if text is not None and who in (Speaker.CONTEXT, Speaker.USER, Speaker.OBSERVATION):
            say("user", Segment(text, False))
            continue
        say("user", Segment(cues[who], True))
        if text is not None:
            say("assistant", Segment(text, False))
    return chat


# Private-use characters: no template touches them, and a content's own cannot be mistaken for ours because
# contents are never part of the rendered text.
_OPEN, _CLOSE = "\ue000", "\ue001"


def _placeholder(index: int) -> str:
    return f"{_OPEN}{index}{_CLOSE}"


def _fill(rendered: str, contents: Sequence[tuple[Segment, ...]]) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    known = {str(index): content for index, content in enumerate(contents)}
    head, *rest = rendered.split(_OPEN)
    segments.append(Segment(head, True))
    for piece in rest:
        index, closed, text = piece.partition(_CLOSE)
        if not closed or index not in known:
            does = "makes up what was said" if closed else "cuts what is said"
            raise ConfigError(f"The model's chat template {does}.", "Name its markup with `markup` in a pack manifest.")
        segments += [*known[index], Segment(text, True)]
    return tuple(s for s in segments if s.text)


def _shared_prefix(one: str, other: str) -> str:
    """The text both begin with, not cut inside a placeholder."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    shared = one[:length]
    return shared[: shared.rfind(_OPEN)] if shared.rfind(_OPEN) > shared.rfind(_CLOSE) else shared
