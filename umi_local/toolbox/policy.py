"""Rules that allow, ask for or deny calls, by tool and by argument.

    write_file                       every call of the tool
    write_file(path=notes/*.md)      calls whose path is a Markdown file right inside notes
    github__*(repo="me/**")          all tools of an MCP server, on anything below me/
    github__star!(repo=me/umi)       that call with no further argument

`*` and `?` stand for characters but not for `/`; `**` stands for any; a backslash takes a meaning away. A pattern with
a comma, bracket or line break is written as a JSON string. Arguments are compared in the form in which the tool will
understand them: a path as the file it leads to, whatever `..` and links it is made of. What a server from outside makes
of an argument nobody knows: one with `..` in it fits no pattern that allows, and each fits one that denies or asks also
by the path that it is without `.`, `..`, doubled slashes and `%xx`.

Deny wins over ask, ask over allow. What no rule speaks of is asked for if the tool says so.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

_FLAG = "--"  # how the origin of a rule of the command line begins
_RULE = re.compile(r"\s*([\w*?-]+)(!?)\s*(?:\((.*)\))?\s*", re.DOTALL)
_ARGUMENT = re.compile(r'\s*([^\s=,()"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(?:,|$)', re.DOTALL)
_GLOB = re.compile(r"\\(.)|(\*\*)|(\*)|(\?)|(.)", re.DOTALL)
_SCHEME = re.compile(r"(?:[A-Za-z][\w+.-]*://)?")
_PLAIN = re.compile(r'(?!\s)[^,"()\n\r]*(?<!\s)')


class Ruling(StrEnum):
    """What is to happen with a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """A ruling on all calls that fit; on those with no further arguments alone if it is `whole`.

    `origin` says where the rule was written, for the person who meets it.
    """

    ruling: Ruling
    tool: str
    arguments: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    whole: bool = False

    @classmethod
    def parse(cls, text: str, ruling: Ruling, origin: str) -> Rule:
        """A rule of the form that the module's head shows.

        Raises:
            ValueError: it is of another form.
        """
        found = _RULE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no rule such as write_file or write_file(path=notes/*)")
        arguments = []
        rest = (found[3] or "").strip()
        while rest:
            argument = _ARGUMENT.match(rest)
            if argument is None:
                raise ValueError(f"{rest!r} in the rule {text!r} is no argument=pattern")
            pattern = argument[2].strip()
            arguments.append((argument[1], json.loads(pattern) if pattern.startswith('"') else pattern))
            rest = rest[argument.end() :]
        return cls(ruling, found[1], tuple(arguments), origin, bool(found[2]))

    @classmethod
    def exactly(cls, tool: str, arguments: Mapping[str, str], origin: str = "", whole: bool = False) -> Rule:
        """The rule that allows this tool with these arguments; if `whole`, with no others beside them."""
        literal = tuple((name, re.sub(r"([*?\\])", r"\\\1", value)) for name, value in arguments.items())
        return cls(Ruling.ALLOW, tool, literal, origin, whole)

    @property
    def is_writable(self) -> bool:
        """Whether the rule's text, on one line, reads as this rule again: its names may come from a server."""
        text = str(self)
        try:
            again = Rule.parse(text, self.ruling, self.origin)
        except ValueError:
            return False
        return again == self and not set(text) & set("\r\n")

    @property
    def by_flag(self) -> bool:
        """Whether the rule stands on the command line."""
        return self.origin.startswith(_FLAG)

    def fits(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a call is meant; a rule on an argument that the call does not have is not about it."""
        if self.whole and len(arguments) > len(self.arguments):
            return False
        return bool(_regex(self.tool).fullmatch(tool)) and all(
            name in arguments and self._meant(pattern, as_compared(arguments[name])) for name, pattern in self.arguments
        )

    def _meant(self, pattern: str, value: str) -> bool:
        fits = _regex(pattern).fullmatch(value) is not None
        plain = unquote(value).replace("\\", "/")
        if self.ruling is not Ruling.ALLOW:
            return fits or _regex(pattern).fullmatch(_normal(plain)) is not None
        return fits and (".." not in plain.split("/") or not re.search(r"(?<!\\)[*?]", pattern))

    def __str__(self) -> str:
        tool = self.tool + ("!" if self.whole else "")
        if not self.arguments:
            return tool
        written = (f"{name}={_quoted(pattern)}" for name, pattern in self.arguments)
        return f"{tool}({', '.join(written)})"


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules that hold, from wherever they come."""

    rules: tuple[Rule, ...] = ()

    def find(self, tool: str, arguments: Mapping[str, Any]) -> Rule | None:
        """The rule that decides about a call; None if no rule speaks of it."""
        fitting = [rule for rule in self.rules if rule.fits(tool, arguments)]
        for ruling in (Ruling.DENY, Ruling.ASK, Ruling.ALLOW):
            for rule in fitting:
                if rule.ruling is ruling:
                    return rule
        return None

    def with_rules(self, rules: Iterable[Rule]) -> Policy:
        return Policy((*self.rules, *rules))


def policy_of(allow: Iterable[str] = (), deny: Iterable[str] = (), ask: Iterable[str] = (), origin: str = "") -> Policy:
    """Rules as a user writes them. Without an origin they are taken to be flags. Raises ValueError as `Rule.parse`."""
    rules = []
    for ruling, texts in ((Ruling.ALLOW, allow), (Ruling.DENY, deny), (Ruling.ASK, ask)):
        rules += [Rule.parse(text, ruling, origin or f"{_FLAG}{ruling} {text}") for text in texts]
    return Policy(tuple(rules))


def as_compared(value: Any) -> str:
    """An argument as the text that patterns are compared with."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _quoted(pattern: str) -> str:
    return pattern if _PLAIN.fullmatch(pattern) else json.dumps(pattern)  # in ASCII: some characters end lines


def _normal(path: str) -> str:
    """The shortest way to write a path, or the one in an address."""
    scheme = _SCHEME.match(path)
    start = scheme.end() if scheme else 0
    return path[:start] + posixpath.normpath(re.sub("//+", "/", path[start:]))


def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression that is not slow on any text: somebody else may have written it.

    All stars but the last of their kind take as little as they can, and never more afterwards (`(?>...)`): whatever is
    reached by taking more is reached by the next star as well.
    """
    runs = [[""]]  # what is between two `**`, as what is between two `*` each
    for escaped, everything, some, one, plain in _GLOB.findall(pattern):
        if everything:
            runs.append([""])
        elif some:
            runs[-1].append("")
        else:
            runs[-1][-1] += "[^/]" if one else re.escape(escaped or plain)
    *before, (first, *further) = runs
    parts = [f"(?>{'.*?' if i else ''}{run[0]}{_found_first(run[1:])})" for i, run in enumerate(before)]
    parts += [".*" if before else "", first, _found_first(further[:-1]), *(f"[^/]*{last}" for last in further[-1:])]
    return re.compile("".join(parts), re.DOTALL)


def _found_first(parts: Iterable[str]) -> str:
    return "".join(f"(?>[^/]*?{part})" for part in parts)
