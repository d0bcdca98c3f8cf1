"""The line in which questions and commands are typed."""

from __future__ import annotations

from textual.events import Key, Paste
from textual.suggester import SuggestFromList
from textual.widgets import Input

from umi_local.chat_commands import COMMANDS
from umi_local.plain import printable

LINE_BREAK = "\u21b5"  # stands for one: the box is one line high


class QuestionInput(Input):
    """Up and down bring earlier questions back; commands are completed. Shift+Enter or Ctrl+J begins another line."""

    def __init__(self, id: str) -> None:
        names = SuggestFromList([name.split()[0] for name in COMMANDS])
        super().__init__(placeholder="your question, or /help", id=id, suggester=names, select_on_focus=False)
        self.asked: list[str] = []
        self._lines: list[str] = []  # what Up brings back: questions, and drafts that something was put in the place of
        self._recalled = 0
        self._draft = ""

    @property
    def text(self) -> str:
        """What was written, with its line breaks."""
        return as_written(self.value)

    def remember(self, *questions: str) -> None:
        """Add what was asked; the newest comes back first."""
        self.asked += questions
        self._lines += questions
        self._recalled, self._draft = len(self._lines), ""

    def forget(self) -> None:
        self.asked.clear()
        self._lines.clear()
        self._recalled, self._draft = 0, ""

    def begin(self, text: str) -> None:
        """Put a text into the line, to go on with; what stood there can be brought back with Up."""
        if self.text and self._recalled == len(self._lines):
            self._lines.append(self.text)
        self._recalled = len(self._lines)
        self._put(text)
        self.focus()

    def _put(self, text: str) -> None:
        self.value = one_line(text)
        self.cursor_position = len(self.value)

    def on_key(self, event: Key) -> None:
        if event.key in ("shift+enter", "ctrl+j"):
            self.insert_text_at_cursor(LINE_BREAK)
            event.prevent_default().stop()
        elif event.key in ("up", "down"):
            self._recall(-1 if event.key == "up" else 1)

    def _recall(self, step: int) -> None:
        """Go through the earlier questions, behind the newest of which stands what was being written."""
        wanted = min(max(self._recalled + step, 0), len(self._lines))
        if wanted == self._recalled:
            return
        if self._recalled == len(self._lines):
            self._draft = self.value
        self._recalled = wanted
        self._put(self._lines[wanted] if wanted < len(self._lines) else self._draft)

    def _on_paste(self, event: Paste) -> None:
        """Of several lines, too; Textual's own takes the first."""
        if event.text:
            self.replace(one_line(event.text.strip("\n")), *self.selection)
        event.prevent_default().stop()


def as_written(value: str) -> str:
    """What stands in the box as the text that it stands for."""
    return value.replace(LINE_BREAK, "\n").strip()


def one_line(text: str) -> str:
    """A text for the box."""
    return LINE_BREAK.join(printable(text.replace("\r\n", "\n").replace("\t", " ")).split("\n"))
