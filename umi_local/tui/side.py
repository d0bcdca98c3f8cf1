"""The panel beside the transcript on wide terminals: the trajectory as a tree, and what each role has cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.widgets import Static

from umi_local.tui.transcript import Transcript


class SidePanel(Static):
    """Of a long trajectory the newest lines; it does nothing while it is not shown."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(id="side", markup=False)
        self._transcript = transcript
        self._spent = ""

    def show(self, stats: Mapping[str, Any] | None = None) -> None:
        """Bring it up to date; `stats` (those of `ask --json`) are of a run that has just ended."""
        if stats is not None:
            self._spent = spent(stats)
        if self.display:
            rows = max(1, self.size.height - self._spent.count("\n") - 1)
            self.update(Text(f"{self._transcript.outline(rows)}\n{self._spent}".strip("\n")))

    def on_resize(self) -> None:
        self.show()


def spent(stats: Mapping[str, Any]) -> str:
    """The roles of a run with their turns, the tokens that they wrote and their seconds, a line each."""
    lines = [
        f"  {name:<12}{role['turns']:>5}{role['sampled_tokens']:>8}{role['seconds']:>9.1f}"
        for name, role in stats.get("roles", {}).items()
    ]
    return "\n".join(["", "Last run      turns  tokens  seconds", *lines]) if lines else ""
