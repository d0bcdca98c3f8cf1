"""Tools beyond those that come along: users' own Python files, installed packages, MCP servers."""

from __future__ import annotations

import atexit
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from umi_local.mcp import Manager, ServerFile, tools_of
from umi_local.paths import config_dir, servers_file, trusted_file
from umi_local.toolbox import Tool

ENTRY_POINTS = "umi_local.tools"
TEMPLATE = '''\
"""A tool of your own. umi-local reads every file in this folder; `umi-local tools run {name} ...` tries it."""

from typing import Annotated

from umi_local.toolbox import Effect, ToolError, tool


# Effect says what it does to the world: NONE, READS, WRITES, EXECUTES or NETWORK. With asks=True a person approves
# each call. The docstring tells the model, in a line or two, when this is the right tool.
@tool(effect=Effect.NONE, asks=False)
def {name}(text: Annotated[str, "what the words are counted of"]) -> str:
    """Count the words of a text."""
    words = text.split()
    if not words:
        raise ToolError("There is no text.")  # a sentence that the planner can act on
    return f"{{len(words)}} words"
'''
TEST_TEMPLATE = '''\
"""Run with: pytest {test}"""

import importlib.util
from pathlib import Path

from umi_local.messages import ToolCall
from umi_local.toolbox import LocalToolbox, ToolContext, Workspace

spec = importlib.util.spec_from_file_location("{name}", Path(__file__).with_name("{name}.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def test_{name}(tmp_path):
    box = LocalToolbox([module.{name}], ToolContext(Workspace(tmp_path), tmp_path / "notes.md"))
    assert box.run(ToolCall("{name}", {{"text": "one two"}})).content == "2 words"
    assert box.run(ToolCall("{name}", {{"text": ""}})).is_error
'''


class Extensions:
    """The added tools and, as sentences, what could not be loaded."""

    def __init__(self, builtin: Iterable[str]) -> None:
        self.tools: list[Tool] = []
        self.problems: list[str] = []
        self._taken = set(builtin)
        for path in own_files():
            self._take(str(path), partial(_tools_in, path))
        for point in entry_points(group=ENTRY_POINTS):
            self._take(f"the package {point.value}", partial(_loaded, point))
        self._take(str(servers_file()), lambda: tools_of(manager(), ServerFile(servers_file()), trusted_file()))

    def _take(self, origin: str, load: Callable[[], Iterable[Tool]]) -> None:
        try:
            found = list(load())
        except Exception as error:  # a user's file may fail in any way; the others must work on
            self.problems.append(f"The tools of {origin} are left out: {type(error).__name__}: {error}.")
            return
        for tool in found:
            if tool.name in self._taken:
                self.problems.append(f"The tool {tool.name} of {origin} is left out: there is another of this name.")
            else:
                self._taken.add(tool.name)
                self.tools.append(tool)


def own_folder() -> Path:
    """Where users put Python files with tools."""
    return config_dir() / "tools"


def own_files() -> list[Path]:
    return sorted(path for path in own_folder().glob("*.py") if not path.name.startswith(("_", "test_")))


@cache
def manager() -> Manager:
    """The MCP servers of this process; they end with it."""
    made = Manager(ServerFile(servers_file()))
    atexit.register(made.close)
    return made


def _tools_in(path: Path) -> Iterator[Tool]:
    name = f"umi_local_tools_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    spec.loader.exec_module(module)
    return (value for value in vars(module).values() if isinstance(value, Tool))


def _loaded(point: EntryPoint) -> list[Tool]:
    value: object = point.load()
    found = [value] if isinstance(value, Tool) else list(value)  # type: ignore[call-overload]
    if not all(isinstance(tool, Tool) for tool in found):
        raise TypeError("an entry point must name a tool or a list of tools")
    return found
