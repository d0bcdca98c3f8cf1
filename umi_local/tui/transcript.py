"""The scroll of cards: what a run's events become, live and when an earlier session is shown again."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import VerticalScroll
from textual.widgets import Collapsible, Static

from umi_local.events import (
    CallEnded,
    CallStarted,
    Event,
    RunEnded,
    StepEnded,
    TextWritten,
    TurnEnded,
    TurnStarted,
    Warned,
)
from umi_local.messages import NO_CALL, Role, Usage
from umi_local.prompts import plan_text
from umi_local.trajectory import Next, StopReason, Trajectory
from umi_local.tui.cards import (
    GLYPHS,
    AnswerCard,
    CallCard,
    Card,
    NoteCard,
    QuestionCard,
    State,
    TurnCard,
    cost,
    one_line,
)

# Of a long conversation the oldest cards leave the screen, many at a time, since each leaving lays out all the others
# again; the store keeps them.
_MOST_CARDS, _LEAVING = 100, 25
_WELCOME = "Ask anything. The planner decides, the caller writes the tool call, the summarizer answers.\n"
_RUNS_SHOWN = 20  # of a session that is opened again
_STOPS = {
    StopReason.GAVE_UP: "The agent gave up.",
    StopReason.LOOP: "The agent repeated itself and was stopped; the answer is from what it knew.",
    StopReason.STEP_LIMIT: "The agent used up its steps; the answer is from what it knew.",
    StopReason.CONTEXT_FULL: "The conversation no longer fits; /new starts another.",
    StopReason.CANCELLED: "You stopped it. What was said is kept.",
    StopReason.FAILED: "The model failed.",
}


class Transcript(VerticalScroll):
    """Cards, newest last. It follows the end unless someone has scrolled up."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.stopping = False  # a person has stopped the run
        self._turn: TurnCard | None = None
        self._answer: AnswerCard | None = None
        self._call: CallCard | None = None
        self._caller: Usage | None = None
        self._found: Card | None = None

    def on_mount(self) -> None:
        self.anchor()

    async def add(self, card: Card) -> None:
        if self.children and self.children[0].id == "welcome":
            await self.children[0].remove()
        if len(self.children) >= _MOST_CARDS:
            await self.remove_children(self.children[:_LEAVING])
        await self.mount(card)

    async def welcome(self, about: str) -> None:
        """What stands there until something is asked."""
        welcome = f"{_WELCOME}{about}/help shows keys and commands."
        await self.mount(Static(welcome, id="welcome", markup=False))

    async def clear(self) -> None:
        await self.remove_children()
        self._turn = self._answer = self._call = None

    async def show(self, event: Event) -> None:
        match event:
            case TurnStarted(Role.PLANNER | Role.SINGLE as role):
                self._turn = TurnCard(role)
                await self.add(self._turn)
            case TurnStarted(Role.SUMMARIZER):
                self._answer = AnswerCard()
                await self.add(self._answer)
            case TurnStarted(Role.CALLER):
                self._call = CallCard()
                await self.add(self._call)
            case TextWritten(Role.CALLER, text) if self._call:
                self._call.write(text)
            case TextWritten(Role.PLANNER | Role.SINGLE, text) if self._turn:
                self._turn.write(text)
            case TextWritten(Role.SUMMARIZER, text) if self._answer:
                await self._answer.write(text)
            case TurnEnded(Role.PLANNER | Role.SINGLE, _, _, usage) if self._turn:
                self._turn.end(usage, self._ended)
            case TurnEnded(Role.CALLER, _, _, usage):
                self._caller = usage
            case TurnEnded(Role.SUMMARIZER, _, text, usage) if self._answer:
                # A writer that had to be ended in the midst of it gives nothing back; what was shown stays.
                await self._answer.end(text.strip() or self._answer.text, self._ended, cost(usage))
            case CallStarted(_, call):
                if self._call is None or self._call.state is not State.WRITING:  # a turn may write several
                    self._call = CallCard()
                    await self.add(self._call)
                self._call.run(call, cost(self._caller) if self._caller else "")
            case CallEnded(_, _, observation) if self._call:
                self._call.end(observation)
            case StepEnded(_, step) if self._call and self._call.state is State.WRITING:
                if step.observations:  # a call that came to no tool, and why
                    self._call.end(step.observations[-1])
            case Warned(text):
                await self.add(NoteCard(text, title="Warning"))
            case RunEnded(run):
                await self._close(run)
            case _:
                pass

    @property
    def _ended(self) -> State:
        """How a turn has ended that ends just now."""
        return State.STOPPED if self.stopping else State.DONE

    async def show_runs(self, runs: Sequence[Trajectory], first_role: Role = Role.PLANNER) -> None:
        """A stored session; of a long one the last runs alone, since each card that is shown takes its time."""
        if len(runs) > _RUNS_SHOWN:
            earlier = len(runs) - _RUNS_SHOWN
            await self.add(NoteCard(f"{earlier} earlier questions are stored and not shown. /export writes them all."))
        for run in runs[-_RUNS_SHOWN:]:
            await self.show_run(run, first_role)

    async def show_run(self, run: Trajectory, first_role: Role) -> None:
        """A stored run, as it looked when it was made; `first_role` is who begins a step."""
        await self.add(QuestionCard(run.query))
        for step in run.steps:
            turn = TurnCard(first_role)
            await self.add(turn)
            # What a stopped turn had decided is not known: it is kept as if a call were to come.
            stopped = run.stop is StopReason.CANCELLED and step.decision.next is Next.CALL and not step.calls
            turn.write(step.decision.rationale if stopped else plan_text(step))
            turn.turn_to(State.STOPPED if stopped else State.DONE)
            for number, call in enumerate(step.calls):
                card = CallCard()
                await self.add(card)
                if call != NO_CALL:
                    card.run(call)
                if number < len(step.observations):
                    card.end(step.observations[number])
                else:
                    card.turn_to(State.STOPPED)
        if run.answer:
            answer = AnswerCard()
            await self.add(answer)
            await answer.end(run.answer, State.DONE)
        if run.stop is not StopReason.ANSWERED:
            told = title_of_stop(run.stop) if run.stop else "It was broken off; ask again to have it answered."
            await self.add(NoteCard(told, State.STOPPED, "Stopped"))

    async def _close(self, run: Trajectory) -> None:
        """Nothing is left writing; a single model's answer, which came with its plan, gets a card of its own."""
        for card in self.query(Card):
            if card.state in (State.WRITING, State.RUNNING):
                card.turn_to(State.STOPPED)
        if run.answer and self._answer is None:
            answer = AnswerCard()
            await self.add(answer)
            await answer.end(run.answer, State.DONE)
        self._turn = self._answer = self._call = self._caller = None

    def waits(self, for_person: bool) -> None:
        """Whether the call that is going on waits for a person's word."""
        if self._call is not None:
            self._call.turn_to(State.WAITING if for_person else State.RUNNING)

    def fold_all(self) -> None:
        """Unfold every call, or fold them if all are open."""
        folds = list(self.query(Collapsible))
        unfold = any(fold.collapsed for fold in folds)
        for fold in folds:
            fold.collapsed = not unfold

    def find(self, text: str) -> bool:
        """Go to the next card after the one found last that says `text`, from the top again after the last one."""
        cards = [card for card in self.query(Card) if text and text.lower() in card.said.lower()]
        if not cards:
            return False
        places = [self._found is not None and card is self._found for card in cards]
        if self._found is not None:
            self._found.remove_class("found")
        self._found = cards[(places.index(True) + 1) % len(cards) if True in places else 0]
        self._found.add_class("found")
        self.scroll_to_widget(self._found, top=True, animate=False)
        return True

    def outline(self, rows: int) -> str:
        """The newest cards as so many lines, for the side panel."""
        lines = []
        for card in self.query(Card):
            if isinstance(card, QuestionCard):
                lines.append(f"You: {one_line(card.question)}")
            else:
                indent = "    " if isinstance(card, CallCard) else "  "
                lines.append(f"{indent}{GLYPHS[card.state]} {card.title}")
        return "\n".join(lines[-rows:])


def title_of_stop(stop: StopReason | None) -> str:
    return _STOPS.get(stop, "It stopped.") if stop else "It stopped."
