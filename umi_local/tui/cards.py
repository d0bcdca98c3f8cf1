"""The cards of the transcript. Text of models and tools is shown as text: no markup, no escape sequence, acts."""

from __future__ import annotations

import json
from enum import StrEnum

from markdown_it import MarkdownIt
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Collapsible, Markdown, Static
from textual.widgets.markdown import MarkdownStream

from umi_local.messages import Observation, Role, ToolCall, Usage
from umi_local.plain import printable
from umi_local.tui.calls import call_shown, observation_shown

_LONGEST_LINE = 160


class State(StrEnum):
    """What a card is at, as a word; its glyph stands before it, so that colour is never needed."""

    WRITING = "writing"
    RUNNING = "running"
    WAITING = "waiting for you"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"
    STOPPED = "stopped"


GLYPHS = {
    State.WRITING: "✎",
    State.RUNNING: "▶",
    State.WAITING: "?",
    State.DONE: "✓",
    State.FAILED: "✗",
    State.DENIED: "⊘",
    State.STOPPED: "■",
}


class Card(Vertical):
    """A headline with a state, and a body. Where the title says the state, its word is left out."""

    tells_state = True

    def __init__(self, title: str, state: State, kind: str) -> None:
        super().__init__(classes=f"card {kind}")
        self.title, self.state, self.aside = title, state, ""
        self._headline = Static(classes="headline", markup=False)

    def compose(self) -> ComposeResult:
        yield self._headline

    def on_mount(self) -> None:
        self._show()

    def turn_to(self, state: State, aside: str = "") -> None:
        """Another state, and what stands at the end of the headline."""
        self.state, self.aside = state, aside or self.aside
        self._show()

    @property
    def said(self) -> str:
        """What a search looks through."""
        return self.title

    def _show(self) -> None:
        headline = Text(f"{GLYPHS[self.state]} ", no_wrap=True, overflow="ellipsis")
        headline.append(self.title, "bold").append(f"  {self.state}" if self.tells_state else "")
        if self.aside:
            headline.append(f"  {self.aside}", "dim")
        self._headline.update(headline)
        self.set_class(self.state in (State.FAILED, State.DENIED), "bad")


class QuestionCard(Card):
    """What the person asked."""

    def __init__(self, question: str) -> None:
        super().__init__("You", State.DONE, "question")
        self.question = question

    def compose(self) -> ComposeResult:
        yield Static(Text(printable(self.question)), classes="body", markup=False)

    @property
    def said(self) -> str:
        return self.question


class TurnCard(Card):
    """A planner's turn: its rationale as it is written, and its decision."""

    def __init__(self, role: Role) -> None:
        super().__init__(role.value.capitalize(), State.WRITING, "turn")
        self.text = ""
        self._body = Static(classes="body", markup=False)

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield self._body

    def write(self, text: str) -> None:
        self.text += text
        self._body.update(Text(printable(self.text).strip()))

    def end(self, usage: Usage, state: State = State.DONE) -> None:
        self.turn_to(state, cost(usage))

    @property
    def said(self) -> str:
        return self.text


class CallCard(Card):
    """A tool call as it is written, then in one line, which folds out to all of the call and of what came back."""

    def __init__(self) -> None:
        super().__init__("Caller", State.WRITING, "call")
        self._line = Static(classes="body", markup=False)
        self._result = Static(classes="body result", markup=False)
        self._all = Collapsible(title="all of it", collapsed=True)
        self._sent, self._came = Static(markup=False), Static(markup=False)
        self._call: ToolCall | None = None
        self._written = self._observed = ""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield self._line
        yield self._result
        self._all.display = self._call is not None
        with self._all:
            yield self._sent
            yield self._came

    @property
    def said(self) -> str:
        return f"{self._call.name if self._call else ''} {self._written} {self._observed}"

    def write(self, text: str) -> None:
        self._written += text
        self._line.update(Text(one_line(self._written)))

    def run(self, call: ToolCall, aside: str = "") -> None:
        """The call is written and goes to its tool."""
        self._call, self.title = call, f"Caller · {printable(call.name)}"
        self._written = json.dumps(dict(call.arguments), ensure_ascii=False)
        self._line.update(Text(one_line(self._written)))
        self._sent.update(call_shown(call))
        self._all.display = True
        self.turn_to(State.RUNNING, aside)

    def end(self, observation: Observation) -> None:
        state = State.DENIED if observation.denied else State.FAILED if observation.is_error else State.DONE
        self.turn_to(state)
        content = printable(observation.content)
        self._observed = content
        self._result.update(Text(f"→ {one_line(content)}"))
        if self._call is not None:
            self._sent.update(call_shown(self._call, observation.changes))
            self._came.update(observation_shown(self._call.name, content))


class AnswerCard(Card):
    """The answer as Markdown, streamed."""

    def __init__(self) -> None:
        super().__init__("Answer", State.WRITING, "answer")
        self.text = ""
        self._markdown = Markdown(classes="body", open_links=False, parser_factory=_parser)
        self._stream: MarkdownStream | None = None

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield self._markdown

    async def write(self, text: str) -> None:
        if self._stream is None:
            self._stream = Markdown.get_stream(self._markdown)
        text = printable(text if self.text else text.lstrip())
        self.text += text
        if text:
            await self._stream.write(text)

    async def end(self, answer: str, state: State, aside: str = "") -> None:
        """All of the answer at once: what was streamed may have been cut inside of a construct."""
        if self._stream is not None:
            await self._stream.stop()
        self.text = printable(answer)
        await self._markdown.update(self.text)
        self.turn_to(state, aside)

    @property
    def said(self) -> str:
        return self.text


class NoteCard(Card):
    """A sentence from the program itself: a warning, or why there is no answer."""

    tells_state = False

    def __init__(self, text: str, state: State = State.DONE, title: str = "Note") -> None:
        super().__init__(title, state, "note")
        self.text = text

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Static(Text(printable(self.text)), classes="body", markup=False)

    @property
    def said(self) -> str:
        return self.text


def _parser() -> MarkdownIt:
    """Bare names are no links: notes.md is a file here and not a site in Moldova."""
    return MarkdownIt("gfm-like", {"linkify": False})


def one_line(text: str) -> str:
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= _LONGEST_LINE else f"{flat[: _LONGEST_LINE - 1]}…"


def cost(usage: Usage) -> str:
    """Tokens and seconds of a turn, and how much of its prompt was in the cache."""
    written = usage.sampled + usage.forced
    shared = f", {usage.reused / usage.trunk:.0%} from the cache" if usage.trunk else ""
    return f"{written} {'token' if written == 1 else 'tokens'}, {usage.seconds:.1f} s{shared}"
