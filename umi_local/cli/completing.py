"""What shells complete beyond commands and flags: packs, tools, sessions, servers. Never an error while one types."""

from __future__ import annotations

from collections.abc import Callable

from umi_local.errors import UmiError


def _quietly(find: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in find() if name.startswith(incomplete)]
        except (UmiError, OSError):  # a broken setting must not break the line that a person types
            return []

    return complete


def _packs() -> list[str]:
    from umi_local.packs import pack_names

    return list(pack_names())


def _tools() -> list[str]:
    from umi_local.assemble import known_tools

    return [tool.name for tool in known_tools()]


def _sessions() -> list[str]:
    from umi_local.sessions import open_store

    return [session.id for session in open_store().list(50)]


def _servers() -> list[str]:
    from umi_local.mcp import ServerFile
    from umi_local.paths import servers_file

    return list(ServerFile(servers_file()).read())


def _kept_rules() -> list[str]:
    from umi_local.permissions import kept_rules

    return [str(rule) for rule in kept_rules()]


packs = _quietly(_packs)
tools = _quietly(_tools)
sessions = _quietly(_sessions)
servers = _quietly(_servers)
kept_rules = _quietly(_kept_rules)
