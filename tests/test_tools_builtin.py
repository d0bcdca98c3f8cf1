"""The built-in tools together: their names, what they cost a prompt, and that importing them is quick."""

from __future__ import annotations

import json
import subprocess
import sys

from umi_local.toolbox import Effect
from umi_local.tools import BUILTIN_TOOLS

SIGNATURES = {
    "calculator": (["expression"], []),
    "current_time": ([], ["timezone"]),
    "date_difference": (["start", "end"], []),
    "add_to_date": (["date"], ["days", "weeks", "months", "years"]),
    "convert_units": (["value", "source", "target"], []),
    "list_files": ([], ["path"]),
    "read_file": (["path"], []),
    "search_files": (["text"], ["path"]),
    "write_file": (["path", "content"], []),
    "query_table": (["path", "sql"], []),
    "add_note": (["text"], []),
    "search_notes": (["query"], []),
    "run_python": (["code"], []),
    "fetch_url": (["url"], []),
}


def test_names_and_parameters_are_the_promised_ones() -> None:
    found = {}
    for tool in BUILTIN_TOOLS:
        required = list(tool.spec.parameters["required"])
        found[tool.name] = (required, [name for name in tool.spec.parameters["properties"] if name not in required])
    assert found == SIGNATURES
    assert list(found) == list(SIGNATURES)


def test_whatever_acts_asks_first_and_only_the_network_is_off() -> None:
    assert [tool.name for tool in BUILTIN_TOOLS if tool.asks] == ["write_file", "run_python", "fetch_url"]
    assert [tool.name for tool in BUILTIN_TOOLS if not tool.enabled] == ["fetch_url"]
    effects = {tool.name: tool.effect for tool in BUILTIN_TOOLS}
    assert (effects["write_file"], effects["run_python"]) == (Effect.WRITES, Effect.EXECUTES)


def test_descriptions_are_short_and_the_context_is_never_shown() -> None:
    shown = [
        {"name": tool.name, "description": tool.spec.description, "parameters": tool.spec.parameters}
        for tool in BUILTIN_TOOLS
        if tool.enabled
    ]
    assert len(json.dumps(shown)) < 4200
    assert "context" not in json.dumps(shown)
    assert all(len(tool.spec.description) < 130 for tool in BUILTIN_TOOLS)


def test_importing_the_tools_loads_no_heavy_library() -> None:
    heavy = "('duckdb', 'pint', 'httpx', 'bs4', 'dateutil', 'numpy')"
    code = f"import sys, umi_local.tools; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
