"""Choosing the tools that the agent is told of, with what each costs in every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from umi_local.assemble import known_tools
from umi_local.chat_commands import tokens_of, tool_line
from umi_local.toolbox import Tool
from umi_local.tui.dialog import Dialog, DialogScreen


class ToolsScreen(DialogScreen[list[str]]):
    """All tools that there are. Gives the names of those chosen, None where nothing is to change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("enter", "take", "Take these", priority=True),
    ]

    def __init__(self, listed: Sequence[str]) -> None:
        super().__init__()
        self._listed = listed
        self._sum = Static(markup=False)

    def compose(self) -> ComposeResult:
        choices = [
            Selection(_line(tool, tool.name in self._listed), tool.name, tool.name in self._listed)
            for tool in known_tools()
        ]
        with Dialog(classes="dialog"):
            yield Static(Text("Tools", "bold"), markup=False)
            yield SelectionList(*choices, id="tools", classes="fills")
            yield self._sum
            yield Static("Space chooses, Enter takes what is chosen, Esc goes back", classes="hint")

    def on_mount(self) -> None:
        self.query_one(SelectionList).focus()
        self._add_up()

    @on(SelectionList.SelectedChanged)
    def _add_up(self) -> None:
        chosen, choices = self._chosen(), self.query_one(SelectionList)
        for index, tool in enumerate(known_tools()):
            choices.replace_option_prompt_at_index(index, _line(tool, tool.name in chosen))
        cost = sum(tokens_of(tool) for tool in known_tools() if tool.name in chosen)
        self._sum.update(Text(f"{len(chosen)} tools, about {cost:,} tokens of every prompt"))

    def action_take(self) -> None:
        self.dismiss(self._chosen())

    def _chosen(self) -> list[str]:
        selected = set(self.query_one(SelectionList).selected)
        return [tool.name for tool in known_tools() if tool.name in selected]


def _line(tool: Tool, chosen: bool) -> Text:
    """A tool's line. The list itself tells by a colour alone whether it is chosen, so a word says it too."""
    return Text(f"{'on ' if chosen else 'off'}  {tool_line(tool)}")
