"""The line at the top: the pack, the session, and what the last run cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from umi_local.conversation import Conversation
from umi_local.errors import UmiError
from umi_local.plain import printable
from umi_local.setups import Setup

_QUANTISATION = re.compile(r"[.-]((?:i?q\d|f16|f32|bf16)[a-z0-9_]*)\.gguf$", re.IGNORECASE)

_NEARLY_FULL = 0.85  # of the context


def status_line(conversation: Conversation, stats: Mapping[str, Any]) -> Text:
    """Without `stats` (those of `ask --json`) only what is known before a run.

    What changes stands before what does not, which a narrow terminal cuts.
    """
    wanted = conversation.wanted
    parts = [_model(wanted)]
    if stats.get("trunk_tokens"):
        context = wanted.settings.context or (wanted.pack.context if wanted.pack else 0)
        used = f"context {stats['trunk_tokens']:,}" + (f" of {context:,}" if context else "")
        if context and stats["trunk_tokens"] > _NEARLY_FULL * context:
            used += ", nearly full: /new starts another session"
        seconds = sum(role["seconds"] for role in stats["roles"].values()) or 1
        read = stats["evaluated_tokens"] + stats["reused_tokens"]
        parts += [used, f"{(stats['sampled_tokens'] + stats['forced_tokens']) / seconds:.0f} tokens/s"]
        parts += [f"{stats['reused_tokens'] / read:.0%} from the cache"] if read else []
    parts += [_title(conversation), _place(conversation.workspace.absolute())]
    return Text("  ·  ".join(map(printable, parts)))


def _model(wanted: Setup) -> str:
    """The pack, with its model's quantisation where the file's name tells it."""
    files = [file.filename for file in wanted.pack.files.values() if file.kind == "model"] if wanted.pack else []
    found = _QUANTISATION.search(files[0]) if len(files) == 1 else None
    return f"{wanted.pack_name} {found[1].upper()}" if found else wanted.pack_name


def _title(conversation: Conversation) -> str:
    if not conversation.session:
        return "new session"
    try:
        title = conversation.store.get(conversation.session).title
    except UmiError:  # removed elsewhere, or the file is busy: whoever asks next is told
        title = ""
    return " ".join(title.split())[:40] or conversation.session


def _place(path: Path) -> str:
    """A folder as people write it: from their home on."""
    try:
        return str(Path("~", path.relative_to(Path.home())))
    except (ValueError, RuntimeError):  # elsewhere, or nobody's home is known
        return str(path)
