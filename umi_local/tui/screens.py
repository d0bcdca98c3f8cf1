"""What opens over the transcript: an approval, the list of sessions, help."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Key
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from umi_local.chat_commands import session_line
from umi_local.conversation import Verdict, offered
from umi_local.errors import UmiError
from umi_local.permissions import forget
from umi_local.plain import printable, visible
from umi_local.sessions import Session, SessionStore
from umi_local.toolbox import ApprovalRequest
from umi_local.tui.appearance import bound, key_of
from umi_local.tui.calls import changes_shown
from umi_local.tui.dialog import Dialog, DialogScreen

# Seconds without a key before a letter or Enter decides: who was typing when the question came up has not read it.
SETTLE = 0.7
_LISTED = 50  # sessions


class ApprovalScreen(DialogScreen[Verdict]):
    """All of a call before it runs. Enter on what is focused first denies; letters typed in a row allow nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "decide('once')", "Allow once", id="allow_once"),
        Binding("s", "decide('session')", "Allow for this session", id="allow_session"),
        Binding("a", "decide('always')", "Always allow", id="allow_always"),
        Binding("d", "decide('deny')", "Deny", id="deny"),
        Binding("escape", "decide('deny')", show=False),
        *(Binding(key, f"scroll('{key}')", show=False) for key in ("up", "down", "pageup", "pagedown", "home", "end")),
    ]

    def __init__(self, request: ApprovalRequest, keys: Mapping[str, str] | None = None) -> None:
        """With `keys` those actions have other ones."""
        super().__init__()
        self.request, self._offered = request, offered(request)
        self._key = partial(key_of, bindings=self.BINDINGS, keys=keys or {})
        self._deciding = {binding.key for binding in bound(self.BINDINGS, keys or {}) if binding.id} | {"enter"}
        self._last_key = time.monotonic()

    def compose(self) -> ComposeResult:
        request = self.request
        with Dialog(classes="dialog"):
            yield Static(
                Text(f"? {visible(request.tool)} asks for approval: it {request.effect}.", "bold"), markup=False
            )
            if request.reason:
                yield Static(Text(f"! {visible(request.reason)}"), classes="reason", markup=False)
            with VerticalScroll(classes="shown fills"):
                preview = request.preview if request.preview not in request.arguments.values() else ""
                if preview:
                    yield Static(Text("what changes", "bold"), markup=False)
                    yield Static(changes_shown(visible(preview)), classes="value", markup=False)
                for name, value in request.arguments.items():
                    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                    if "\n" in text.strip() and text.strip() in preview:
                        continue  # a new file's content, which has just been shown
                    yield Static(Text(visible(name), "bold"), markup=False)
                    yield Static(Text(visible(text)), classes="value", markup=False)
            yield Static("", classes="more hint", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"Deny ({self._key('deny')})", id="deny", variant="primary")
                yield Button(f"Allow once ({self._key('allow_once')})", id="once")
                if Verdict.SESSION in self._offered:
                    yield Button(f"This session ({self._key('allow_session')})", id="session")
                if Verdict.ALWAYS in self._offered:
                    yield Button(f"Always ({self._key('allow_always')})", id="always")
            yield Static(Text("\n".join(self._scopes())), classes="hint", markup=False)

    def on_mount(self) -> None:
        self._last_key = time.monotonic()
        self.query_one("#deny", Button).focus()
        self.watch(self.query_one(".shown"), "show_vertical_scrollbar", self._tell_of_more)

    def on_key(self, event: Key) -> None:
        now = time.monotonic()
        if (event.is_printable or event.key in self._deciding) and now - self._last_key < SETTLE:
            event.prevent_default().stop()
            if event.key in self._deciding:
                self.notify("This needs your decision. Wait a moment, then press the key again.")
        self._last_key = now

    def _tell_of_more(self, scrolls: bool) -> None:
        # Its line is always there: one that came and went would change what fits.
        self.query_one(".more", Static).update("Up and Down scroll: there is more than fits." if scrolls else "")

    def action_scroll(self, key: str) -> None:
        """What is shown scrolls while the focus stays on the answer."""
        part = self.query_one(".shown", VerticalScroll)
        move = {"up": part.scroll_up, "down": part.scroll_down, "pageup": part.scroll_page_up}
        move |= {"pagedown": part.scroll_page_down, "home": part.scroll_home, "end": part.scroll_end}
        move[key](animate=False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_decide(str(event.button.id))

    def _scopes(self) -> list[str]:
        """What the wider answers would allow, in words."""
        told = {
            Verdict.SESSION: f"this session: every call of {visible(self.request.tool)}",
            Verdict.ALWAYS: f"always: {visible(str(self.request.always))}",
        }
        return [text for verdict, text in told.items() if verdict in self._offered]

    def action_decide(self, verdict: str) -> None:
        if verdict in self._offered:
            self.dismiss(Verdict(verdict))


class SessionsScreen(DialogScreen[str]):
    """The saved sessions, searched as one types. Gives the chosen one's id, empty for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss('')", "Back"),
        Binding("down", "into_list", "To the list", show=False),
        Binding("delete", "remove", "Remove a session", show=False, id="remove_session"),
        Binding("ctrl+d", "remove", show=False),
    ]

    def __init__(
        self, store: SessionStore, search: str = "", keys: Mapping[str, str] | None = None, only: str = ""
    ) -> None:
        """With `only` the list has that session alone, at hand, until something is searched."""
        super().__init__()
        self._store, self._search, self._only = store, search, only
        self._key = key_of("remove_session", self.BINDINGS, keys or {})
        self._doomed = ""

    def compose(self) -> ComposeResult:
        with Dialog(classes="dialog"):
            yield Input(self._search, placeholder="search in titles, questions and answers", id="search")
            yield OptionList(id="sessions", classes="fills")
            hint = f"Enter resumes, {self._key} twice in the list removes, Esc goes back"
            yield Static(hint, classes="hint", markup=False)

    def on_mount(self) -> None:
        self._fill(self._search)
        if self._only:
            self.action_into_list()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        options = self.query_one(OptionList)
        self.dismiss((options.get_option_at_index(0).id or "") if options.option_count else "")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(str(event.option_id))

    def action_remove(self) -> None:
        """Remove the session under the cursor, at the second press."""
        options = self.query_one(OptionList)
        if not options.has_focus or options.highlighted is None:
            return
        chosen = options.get_option_at_index(options.highlighted).id
        if not chosen:
            return
        if chosen != self._doomed:
            self._doomed = chosen
            self.notify(f"{self._key} again removes this session for good.", severity="warning", markup=False)
            return
        try:
            self._store.remove(chosen)
            forget(chosen)
            self._only = ""
        except UmiError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
            return
        self._fill(self.query_one("#search", Input).value)
        options.focus()

    def action_into_list(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = options.highlighted or 0
        options.focus()

    def _fill(self, search: str) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        try:
            named = self._only if not search else ""
            found = [self._store.get(named)] if named else self._store.list(_LISTED + 1, search)
        except UmiError as error:
            options.add_option(Option(Text(printable(str(error))), disabled=True))
            return
        options.add_options([Option(_row(session), id=session.id) for session in found[:_LISTED]])
        if not found:
            options.add_option(Option("no session matches", disabled=True))
        elif len(found) > _LISTED:
            options.add_option(Option("there are older ones: type a word that they say", disabled=True))


class HelpScreen(DialogScreen[None]):
    """Keys and commands."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Back")]

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Dialog(classes="dialog"):
            yield Static("Up and Down scroll, Esc goes back", classes="hint")
            with VerticalScroll(classes="lines fills"):
                yield Static(Text("\n".join(self._lines)), markup=False)


def _row(session: Session) -> Text:
    return Text(session_line(session), no_wrap=True, overflow="ellipsis")
