"""The terminal chat. All work of the model is in a thread that waits for a child process; this loop never waits."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable
from itertools import chain
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import DescendantFocus
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Input, Static

from umi_local.chat_commands import is_command
from umi_local.conversation import Conversation, Verdict
from umi_local.errors import ContextFull, UmiError
from umi_local.events import Event
from umi_local.plain import printable
from umi_local.toolbox import ApprovalRequest
from umi_local.trajectory import StopReason
from umi_local.tui import commands
from umi_local.tui.appearance import dress, key_of, keys_of
from umi_local.tui.cards import NoteCard, QuestionCard, State
from umi_local.tui.messages import AgentEvent, ApprovalWanted, RunDone
from umi_local.tui.question import QuestionInput, as_written
from umi_local.tui.screens import ApprovalScreen, HelpScreen, SessionsScreen
from umi_local.tui.side import SidePanel
from umi_local.tui.status import status_line
from umi_local.tui.transcript import Transcript, title_of_stop

_WIDE = 130  # columns from which the side panel is shown


class ChatApp(App[None]):
    """The chat over a conversation, which it closes when it ends."""

    CSS_PATH = "chat.tcss"
    TITLE = "umi-local"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", priority=False, id="stop"),
        Binding("f5", "again", "Ask again", id="again"),
        Binding("ctrl+n", "new", "New", id="new"),
        Binding("ctrl+r", "sessions", "Sessions", id="sessions"),
        Binding("ctrl+o", "fold", "Fold", id="fold"),
        Binding("ctrl+g", "editor", "Editor", show=False, id="editor"),
        Binding("ctrl+y", "copy", "Copy", id="copy"),
        Binding("f1", "help", "Help", id="help"),
        Binding("ctrl+c", "interrupt", "Stop, twice to leave", show=False, priority=True, id="interrupt"),
        Binding("ctrl+q", "quit", "Quit", priority=True, id="quit"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="page_down"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.conversation = conversation
        self.conversation.approve = self._approve
        # Kept, since a query looks at the screen on top, which may be an approval.
        self.transcript = Transcript(id="transcript")
        self._status = Static(id="status", markup=False)
        self._side = SidePanel(self.transcript)
        self.busy = self._failed = False
        self._asking: queue.Queue[Verdict] | None = None
        self._leaving = False
        self._began, self._known = 0.0, Text()
        self.question = QuestionInput(id="question")
        chosen = conversation.wanted.settings.chat
        self.keys, self._blinks = chosen.keys, not chosen.reduced_motion
        dress(self, chosen, REBINDABLE)

    def compose(self) -> ComposeResult:
        yield self._status
        with Horizontal(id="main"):
            yield self.transcript
            yield self._side
        yield self.question
        yield Footer(show_command_palette=True)

    async def on_mount(self) -> None:
        self.show_status({})
        self.question.focus()
        self.set_interval(1, self._tick)
        try:
            await self.show_session()
        except UmiError as error:  # what is stored cannot be read: a new session can still be had
            self.tell(error)
        if self.conversation.lacks_model:
            commands.choose_pack(self, first=True)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        if isinstance(event.widget, Input):
            event.widget.cursor_blink = self._blinks

    def on_resize(self) -> None:
        self.set_class(self.size.width >= _WIDE, "wide")
        self.call_after_refresh(self._side.show)

    def on_unmount(self) -> None:
        if self._asking is not None:
            self._asking.put(Verdict.DENY)  # the run's thread waits for it
        self.conversation.cancel()
        self.conversation.close()

    def action_command_palette(self) -> None:
        """Not over another screen, whose end would then close the palette instead."""
        if not isinstance(self.screen, ModalScreen):
            super().action_command_palette()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette lists: the chat's own commands, then what Textual brings."""
        yield from commands.palette(self)
        yield from super().get_system_commands(screen)

    # Asking

    @on(Input.Submitted, "#question")
    async def submitted(self, event: Input.Submitted) -> None:
        text = as_written(event.value)
        command = is_command(text)
        if not text:
            return
        if self.busy and not (command and commands.works_beside_a_run(text)):
            self.notify(f"{commands.BUSY} What you typed stays here.")
            return
        event.input.value = event.input.value.removeprefix(event.value)  # what was typed since then stays
        if not command:
            await self.ask(text)
        elif not await commands.run_command(self, text) and not self.question.value:
            self.question.begin(text)  # to be mended

    async def ask(self, question: str) -> None:
        if self.busy:  # the palette can be opened at any time
            return
        self.question.remember(question)
        self.busy, self._failed = True, False
        self.refresh_bindings()
        self._began = time.monotonic()
        self.transcript.anchor()  # also for who has scrolled up: what is asked is what is looked for now
        await self.transcript.add(QuestionCard(question))
        self._run(question)

    def _tick(self) -> None:
        """A sign of life, also while a model is loaded or a prompt is read and no card says anything."""
        if self.busy:
            doing = "stopping" if self.transcript.stopping else "working"
            self._status.update(Text(f"{doing}, {time.monotonic() - self._began:.0f} s  ·  ").append(self._known))

    @work(thread=True)
    def _run(self, question: str) -> None:
        def emit(event: Event) -> None:
            self.post_message(AgentEvent(event))

        try:
            run, stats = self.conversation.ask(question, emit)
        except UmiError as error:
            self.post_message(RunDone(None, {}, error))
        else:
            self.post_message(RunDone(run, stats, None))

    @on(AgentEvent)
    async def happened(self, message: AgentEvent) -> None:
        if self.transcript.is_attached:
            await self.transcript.show(message.event)
            self._side.show()

    @on(RunDone)
    async def ended(self, message: RunDone) -> None:
        self.busy = self.transcript.stopping = False
        if not self.transcript.is_attached:  # the app was left while a run was at work
            return
        if message.error is not None:
            self._failed = not isinstance(message.error, ContextFull)
            again = f" {key_of('again', self.BINDINGS, self.keys)} asks again." if self._failed else ""
            await self.transcript.add(NoteCard(f"{message.error}{again}", State.FAILED, "Failed"))
            self.refresh_bindings()
        elif message.run is not None and message.run.stop is not StopReason.ANSWERED:
            state = State.STOPPED if message.run.stop is StopReason.CANCELLED else State.FAILED
            await self.transcript.add(NoteCard(title_of_stop(message.run.stop), state, "Stopped"))
        self.show_status(message.stats)
        self._side.show(message.stats)

    # Approval, asked for by the run's thread

    def _approve(self, request: ApprovalRequest) -> Verdict:
        verdict: queue.Queue[Verdict] = queue.Queue(1)
        self.post_message(ApprovalWanted(request, verdict))
        while True:
            try:
                return verdict.get(timeout=0.5)
            except queue.Empty:
                if not self.is_running:  # left before the question could be shown
                    return Verdict.DENY

    @on(ApprovalWanted)
    def wanted(self, message: ApprovalWanted) -> None:
        def decided(verdict: Verdict | None) -> None:
            self._asking = None
            self.transcript.waits(False)
            message.verdict.put(verdict or Verdict.DENY)

        if self.transcript.stopping:  # it was asked for while the run was being stopped
            message.verdict.put(Verdict.DENY)
            return
        self._asking = message.verdict
        self.transcript.waits(True)
        self.push_screen(ApprovalScreen(message.request, self.keys), decided)

    # Keys

    def action_stop(self) -> None:
        """Stop the run and keep what was said; what it asks for is denied."""
        if self.busy:
            self.transcript.stopping = True
            self.conversation.cancel()
            self._tick()
            if isinstance(self.screen, ApprovalScreen):
                self.screen.dismiss(Verdict.DENY)

    def action_interrupt(self) -> None:
        """Copy what is marked with the mouse; else stop, and at a second press leave."""
        if marked := self.screen.get_selected_text():
            self.copy_to_clipboard(marked)
            self.screen.clear_selection()
        elif self._leaving:
            self.exit()
        else:
            self.action_stop()
            self._leaving = True
            self.notify("Ctrl+C again leaves.")
            self.set_timer(2, self._stay)

    def _stay(self) -> None:
        self._leaving = False

    async def action_new(self) -> None:
        if self.busy:
            self.notify(commands.BUSY)
        else:
            self.conversation.new()
            await self.show_session()

    async def action_again(self) -> None:
        await commands.run_command(self, "/again")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Asking again is offered where a run has failed."""
        return self._failed if action == "again" else True

    def action_sessions(self) -> None:
        commands.open_sessions(self)

    def action_page(self, pages: int) -> None:
        scroll = self.transcript.scroll_page_up if pages < 0 else self.transcript.scroll_page_down
        scroll(animate=False)

    def action_fold(self) -> None:
        self.transcript.fold_all()

    def action_copy(self) -> None:
        commands.copy_answer(self)

    async def action_editor(self) -> None:
        await commands.write_elsewhere(self)

    def action_help(self) -> None:
        self.push_screen(HelpScreen(commands.help_lines(keys_of(chain(*REBINDABLE), self.keys))))

    def tell(self, error: UmiError) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)

    # What is shown

    async def show_session(self) -> None:
        """The transcript of the conversation as it is stored."""
        self._failed = False
        self.refresh_bindings()
        await self.transcript.clear()
        runs = self.conversation.runs()
        self.question.forget()
        self.question.remember(*(run.query for run in runs))
        if not runs:
            served = self.conversation.wanted.served_roles
            await self.transcript.welcome("" if served else "Nothing leaves this machine. ")
        await self.transcript.show_runs(runs, self.conversation.first_role)
        self.show_status({})
        self._side.show({})

    def show_status(self, stats: dict[str, Any]) -> None:
        self._known = status_line(self.conversation, stats)
        self._status.update(self._known)


# Whatever the settings may give another key, by screen.
REBINDABLE = (ChatApp.BINDINGS, ApprovalScreen.BINDINGS, SessionsScreen.BINDINGS)
