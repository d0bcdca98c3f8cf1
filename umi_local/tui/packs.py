"""Choosing another pack in the chat, with its download."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList, ProgressBar, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from umi_local.errors import UmiError
from umi_local.manifest import RolePack
from umi_local.packs import load_pack, pack_names
from umi_local.plain import printable
from umi_local.pull import Progress, bytes_to_fetch, pull
from umi_local.tui.dialog import Dialog, DialogScreen

_FIRST = (
    "A pack is the model that answers, with an adapter for each role. It is fetched once; after that "
    "it answers without the network. The marked one is yours now. Which shall it be?"
)


class _Left(Exception):
    """Nobody waits for the download any more."""


class PacksScreen(DialogScreen[str]):
    """The packs with what they take. Gives the chosen one's name once its files are here, empty for none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('')", "Back")]

    def __init__(self, current: str, wanted: str = "", first: bool = False) -> None:
        """With `wanted` that pack is taken at once; a `first` start tells what this is for."""
        super().__init__()
        self._current, self._wanted, self._first = current, wanted, first
        self._fetching = False

    def compose(self) -> ComposeResult:
        with Dialog(classes="dialog"):
            yield Static(Text("Welcome to umi-local" if self._first else "Packs", "bold"), markup=False)
            if self._first:
                yield Static(Text(_FIRST), classes="value", markup=False)
            yield OptionList(id="packs", classes="fills")
            yield ProgressBar(id="progress", show_eta=True)
            yield Static(
                "Enter takes one and fetches what is missing, Esc stops and goes back",
                classes="hint",
            )

    def on_mount(self) -> None:
        self.query_one(ProgressBar).display = False
        options = self.query_one(OptionList)
        options.add_options([Option(_line(pack, pack.name == self._current), id=pack.name) for pack in _packs()])
        current = [pack.name for pack in _packs()].index(self._current) if self._known(self._current) else 0
        options.highlighted = current
        options.focus()
        if self._wanted:
            self._take(self._wanted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._take(str(event.option_id))

    def _known(self, name: str) -> bool:
        return name in {pack.name for pack in _packs()}

    def _take(self, name: str) -> None:
        if not self._fetching:
            self._fetching = True
            self._fetch(name)

    @work(thread=True)
    def _fetch(self, name: str) -> None:
        """Leaving the screen, or the chat, stops it; what was fetched is kept and the next time goes on from there."""
        worker = get_current_worker()

        def show(progress: Progress) -> None:
            if worker.is_cancelled:
                raise _Left
            self.app.call_from_thread(self.show_progress, progress.done, progress.total)

        try:
            for file in load_pack(name).files.values():
                if bytes_to_fetch(file):
                    pull(file, show)
        except _Left:
            return
        except UmiError as error:
            if not worker.is_cancelled:
                self.app.call_from_thread(self._failed, str(error))
        else:
            if not worker.is_cancelled:
                self.app.call_from_thread(self._here, name)

    def show_progress(self, done: int, total: int) -> None:
        for bar in self.query(ProgressBar):  # none is left on a screen that is just being left
            bar.display = True
            bar.update(total=total, progress=done)

    def _here(self, name: str) -> None:
        self.dismiss(name)

    def _failed(self, reason: str) -> None:
        self._fetching = False
        self.notify(printable(reason), severity="error", markup=False, timeout=20)


def _packs() -> list[RolePack]:
    found = []
    for name in pack_names():
        try:
            found.append(load_pack(name))
        except UmiError:
            continue  # a broken manifest of the user's own is told where it is asked for
    return found


def _line(pack: RolePack, current: bool) -> Text:
    missing = sum(map(bytes_to_fetch, pack.files.values()))
    size = sum(file.bytes for file in pack.files.values() if file.kind == "model") / 1e6
    state = f"to fetch: {missing / 1e6:,.0f} MB" if missing else "here"
    mark = "●" if current else " "
    numbers = f"about {1.3 * size + 150:,.0f} MB of memory, {state}"
    return Text(f"{mark} {printable(pack.name):<22} {numbers}\n  {printable(pack.description)}")
