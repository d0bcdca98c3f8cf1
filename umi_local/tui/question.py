"""The line in which questions and commands are typed."""

from __future__ import annotations

from textual.events import Key
from textual.suggester import SuggestFromList
from textual.widgets import Input

from umi_local.chat_commands import COMMANDS
from umi_local.plain import printable


class QuestionInput(Input):
    """Up and down bring earlier questions back; commands are completed."""

    def __init__(self, id: str) -> None:
        names = SuggestFromList([name.split()[0] for name in COMMANDS])
        super().__init__(placeholder="your question, or /help", id=id, suggester=names, select_on_focus=False)
        self.asked: list[str] = []
        self._recalled = 0

    def remember(self, *questions: str) -> None:
        """Add what was asked; the newest comes back first."""
        self.asked += questions
        self._recalled = len(self.asked)

    def forget(self) -> None:
        self.asked.clear()
        self._recalled = 0

    def begin(self, text: str) -> None:
        """Put a text into the line, to go on with."""
        kept = " " if text.endswith(" ") else ""
        self.value = " ".join(printable(text).split()) + kept
        self.cursor_position = len(self.value)
        self.focus()

    def on_key(self, event: Key) -> None:
        if event.key in ("up", "down") and self.asked:
            step = -1 if event.key == "up" else 1
            self._recalled = min(max(self._recalled + step, 0), len(self.asked))
            self.begin(self.asked[self._recalled] if self._recalled < len(self.asked) else "")
