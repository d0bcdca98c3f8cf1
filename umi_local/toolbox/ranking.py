"""More tools than a prompt has room for: the fitting ones by their words, and a tool that looks for others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from umi_local.messages import ToolSpec
from umi_local.toolbox.tool import Tool, tool

FIND_TOOLS = "find_tools"  # the name of what `search_tool` makes
FITTING = 8  # tools that are listed for a request beside the constant ones
_FOUND = 5  # tools of one search


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for tools gives: a text for the model, and the tools that can be called from then on."""

    text: str
    tools: tuple[ToolSpec, ...]


class Ranking:
    """Ranks tools by BM25 over their names, descriptions and parameters."""

    def __init__(self, specs: Sequence[ToolSpec]) -> None:
        import bm25s

        self._specs = tuple(specs)
        self._index = bm25s.BM25()
        self._index.index([_words(_document(spec)) for spec in self._specs], show_progress=False)

    def search(self, query: str, count: int) -> tuple[ToolSpec, ...]:
        """The best tools, best first; none that shares no word with the query."""
        words = _words(query)
        if not words:
            return ()
        count = min(count, len(self._specs))
        places, scores = self._index.retrieve([words], k=count, show_progress=False)
        return tuple(
            self._specs[int(place)] for place, score in zip(places[0], scores[0], strict=True) if float(score) > 0
        )


def search_tool(ranking: Ranking) -> Tool:
    """The tool by which a planner asks for tools that are not listed."""

    @tool()
    def find_tools(purpose: Annotated[str, "what the tool should do, in a few words"]) -> Found:
        """Look for a tool when none of those listed can do what is needed."""
        specs = ranking.search(purpose, _FOUND)
        if not specs:
            return Found("No tool fits; say it in other words, or go on without.", ())
        return Found("\n".join(line(spec) for spec in specs), specs)

    return find_tools


def line(spec: ToolSpec) -> str:
    """A tool in one line: name, parameters, purpose."""
    parameters = ", ".join(spec.parameters.get("properties", {}))
    return f"{spec.name}({parameters}): {' '.join(spec.description.split())}"


def _document(spec: ToolSpec) -> str:
    described = (
        f"{name} {detail.get('description', '') if isinstance(detail, dict) else ''}"
        for name, detail in spec.parameters.get("properties", {}).items()
    )
    # The name says most, so it counts twice.
    return " ".join([spec.name, spec.name, spec.description, *described])


def _words(text: str) -> list[str]:
    """Words in lower case, `getWeather_now` as three, each without an ending that plurals and forms differ in."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower()
    return [_stem(word) for word in re.findall(r"[^\W_]+", apart) if word not in _COMMON]


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


_COMMON = frozenset(
    [
        *("a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "for", "from", "get", "give", "have", "how"),
        *("i", "in", "is", "it", "me", "my", "of", "on", "or", "please", "show", "tell", "that", "the", "this", "to"),
        *("us", "want", "was", "we", "what", "when", "where", "which", "who", "will", "with", "you", "your"),
    ]
)
