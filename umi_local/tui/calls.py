"""All of a call and of what came back, for a card that was folded out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from umi_local.messages import ToolCall
from umi_local.plain import printable, visible

_COLUMN = " | "  # what stands between columns in query_table's answers
_DIFF = "--- "  # how a diff begins


def call_shown(call: ToolCall, changes: str = "") -> RenderableType:
    """All of a call; where it is known what it changed, that takes the place of the text that was written."""
    if not changes:
        return arguments_shown(call.arguments)

    def told(value: Any) -> bool:
        lines = isinstance(value, str) and "\n" in value
        return lines and (changes.startswith(_DIFF) or value.strip() in changes)

    rest = {name: value for name, value in call.arguments.items() if not told(value)}
    return Group(arguments_shown(rest), changes_shown(visible(changes)))


def arguments_shown(arguments: Mapping[str, Any]) -> RenderableType:
    """Arguments as highlighted JSON; a text of several lines as it will be written, under its name."""
    long = {name: value for name, value in arguments.items() if isinstance(value, str) and "\n" in value}
    short = {name: value for name, value in arguments.items() if name not in long}
    parts: list[RenderableType] = []
    if short or not long:
        text = printable(json.dumps(short, ensure_ascii=False, indent=2))
        # As text, for a syntax block would paint a background of its own.
        parts.append(Syntax("", "json", theme="ansi_dark").highlight(text))
    for name, value in long.items():
        parts += [Text(f"{printable(name)}:", "bold"), Text(printable(value))]
    return Group(*parts)


def changes_shown(diff: str) -> Text:
    """A diff with its lines coloured; the signs before them say the same. A new file's content has no such signs."""
    text = Text()
    signs = {"+": "green", "-": "red"} if diff.startswith(_DIFF) else {}
    for number, line in enumerate(diff.rstrip("\n").split("\n")):
        style = "bold" if signs and number < 2 else signs.get(line[:1], "")
        text.append(f"{line}\n", style)
    text.right_crop(1)
    return text


def observation_shown(tool: str, content: str) -> RenderableType:
    """What a tool gave back, as a table where it is one."""
    lines = content.splitlines()
    if tool != "query_table" or len(lines) < 2 or not all(_COLUMN in line for line in lines[:2]):
        return Text(content)
    table = Table(show_edge=False, pad_edge=False)
    for name in lines[0].split(_COLUMN):
        table.add_column(Text(name, "bold"))
    width = len(table.columns)
    rest: list[Text] = []
    for line in lines[1:]:
        cells = line.split(_COLUMN)
        if len(cells) == width:
            table.add_row(*map(Text, cells))
        else:
            rest.append(Text(line))
    return Group(table, *rest)
