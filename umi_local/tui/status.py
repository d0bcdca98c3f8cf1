"""The line at the top: the pack, the session, and what the last run cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from umi_local.conversation import Conversation
from umi_local.plain import printable


def status_line(conversation: Conversation, stats: Mapping[str, Any]) -> Text:
    """Without `stats` (those of `ask --json`) only what is known before a run."""
    wanted = conversation.wanted
    parts = [wanted.pack_name, conversation.session or "new session", str(conversation.workspace.absolute())]
    if stats.get("trunk_tokens"):
        context = wanted.settings.context or (wanted.pack.context if wanted.pack else 0)
        used = f"context {stats['trunk_tokens']:,}" + (f" of {context:,}" if context else "")
        seconds = sum(role["seconds"] for role in stats["roles"].values()) or 1
        read = stats["evaluated_tokens"] + stats["reused_tokens"]
        parts += [used, f"{(stats['sampled_tokens'] + stats['forced_tokens']) / seconds:.0f} tokens/s"]
        parts += [f"{stats['reused_tokens'] / read:.0%} from the cache"] if read else []
    return Text("  ·  ".join(map(printable, parts)))
